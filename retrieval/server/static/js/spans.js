// Stretches of time as the address writes them: a year, a month or a day by its name ("2019",
// "2019-05", "2019-05-12"), anything else as two days of which the second is not in it any more.

import { day, month } from "./words.js";

const LENGTHS = { 4: "year", 7: "month", 10: "day" };
const PER_DAY = 86400000;
/** Up to so many of one unit are told one by one. */
const MOST = { day: 62, month: 36 };

export const unitOf = (name) => LENGTHS[name.length];

const iso = (time, length = 10) => new Date(time).toISOString().slice(0, length);
const timeOf = (name) => Date.UTC(Number(name.slice(0, 4)), Number(name.slice(5, 7) || 1) - 1, Number(name.slice(8, 10) || 1));

/** The first day of a span. */
export const firstDay = (name) => iso(timeOf(name));

/** The span so many after this one, or before it. */
function beside(name, count = 1) {
  const time = new Date(timeOf(name));
  if (name.length === 4) time.setUTCFullYear(time.getUTCFullYear() + count);
  else if (name.length === 7) time.setUTCMonth(time.getUTCMonth() + count);
  else time.setUTCDate(time.getUTCDate() + count);
  return iso(time, name.length);
}

/** The day that a text of a filter begins with, or null where it says none. */
function begins(text) {
  const found = /^(\d{4})(?:-(\d{1,2}))?(?:-(\d{1,2}))?/.exec(text ?? "");
  if (!found) return null;
  const [, year, later = "1", date = "1"] = found;
  return `${year}-${later.padStart(2, "0")}-${date.padStart(2, "0")}`;
}

/** What the filters leave of time: `{from, to, name}`; a side that is open is null. */
export function chosen({ after, before }) {
  const [from, to] = [begins(after), begins(before)];
  const name = from && to ? [from.slice(0, 4), from.slice(0, 7), from].find((one) =>
    firstDay(one) === from && firstDay(beside(one)) === to) ?? null : null;
  return { from, to, name };
}

/** The filters that leave the time from one span to another, both in it. */
export const between = (filters, first, last = first) => ({ ...filters, after: first, before: beside(last) });

export function everywhen(filters) {
  const rest = { ...filters };
  delete rest.after;
  delete rest.before;
  return rest;
}

/** Which stretch a chart shows, and by what: a day is shown among the days of its month. */
export function chartOf({ from, to }, first, last) {
  let begin = from ?? firstDay(first);
  let end = to ?? firstDay(beside(last));
  if (begin >= end) end = beside(begin);
  if (begin.slice(0, 7) === beside(end, -1).slice(0, 7)) {
    begin = `${begin.slice(0, 7)}-01`;
    end = firstDay(beside(begin.slice(0, 7)));
  }
  const days = (timeOf(end) - timeOf(begin)) / PER_DAY;
  const unit = days <= MOST.day ? "day" : days <= MOST.month * 31 ? "month" : "year";
  return { begin, end, unit };
}

/** The names of all spans of a chart. */
export function spansOf({ begin, end, unit }) {
  const length = { year: 4, month: 7, day: 10 }[unit];
  const found = [];
  for (let name = begin.slice(0, length); firstDay(name) < end; name = beside(name)) found.push(name);
  return found;
}

/** What a span is called. */
export const said = (name) => ({ year: (one) => one.slice(0, 4), month, day })[unitOf(name)](name);

/** What is chosen, in words; null where that is all of time. */
export function toldSpan({ from, to, name }) {
  if (name) return said(name);
  if (from && to) {
    // As short as it can be said: whole years, whole months, else days.
    const length = [4, 7, 10].find((one) => firstDay(from.slice(0, one)) === from && firstDay(to.slice(0, one)) === to);
    return `${said(from.slice(0, length))} to ${said(beside(to.slice(0, length), -1))}`;
  }
  if (from) return `From ${day(from)} on`;
  return to ? `Before ${day(to)}` : null;
}
