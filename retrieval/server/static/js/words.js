// Numbers and times as people write them.

const language = navigator.language || "en";
const zone = { timeZone: "UTC" };
const MONTH = new Intl.DateTimeFormat(language, { month: "long", year: "numeric", ...zone });
const DAY = new Intl.DateTimeFormat(language, { day: "numeric", month: "long", year: "numeric", ...zone });
const MOMENT = new Intl.DateTimeFormat(language, {
  weekday: "long", day: "numeric", month: "long", year: "numeric", hour: "numeric", minute: "2-digit", ...zone,
});
const NUMBER = new Intl.NumberFormat(language);

/** A time as the picture's place had it: the zone, if there is one, is not reckoned with. */
function local(iso) {
  const found = /^(\d{4})(?:-(\d\d))?(?:-(\d\d))?(?:T(\d\d):(\d\d))?/.exec(iso);
  return found && new Date(Date.UTC(found[1], (found[2] ?? 1) - 1, found[3] ?? 1, found[4] ?? 0, found[5] ?? 0));
}

const said = (format, iso) => {
  const date = local(iso);
  return date ? format.format(date) : iso;
};
export const month = (iso) => said(MONTH, iso);
export const day = (iso) => said(DAY, iso);
export const moment = (iso) => said(MOMENT, iso);
export const number = (value) => NUMBER.format(value);

/** How long something will still take, as exactly as one can know. */
export function remaining(seconds) {
  const minutes = Math.round(seconds / 60);
  if (seconds < 50) return "less than a minute left";
  if (minutes < 100) return `about ${minutes <= 1 ? "a minute" : `${minutes} minutes`} left`;
  const hours = Math.round(minutes / 60);
  return `about ${hours < 48 ? `${hours} hours` : `${Math.round(hours / 24)} days`} left`;
}

export const pictures = (count) => `${number(count)} ${count === 1 ? "picture" : "pictures"}`;

export function bytes(count) {
  if (count < 1000) return `${count} bytes`;
  const units = ["kB", "MB", "GB", "TB"];
  let value = count / 1000;
  while (value >= 1000 && units.length > 1) {
    value /= 1000;
    units.shift();
  }
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${units[0]}`;
}
