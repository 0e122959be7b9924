// The grammar of a query as the server reads it: terms joined by " + " and " - ".

const SIGN = /(^|\s)([+\-−])(?=\s|$)/g;
const WEIGHT = /^([^\s:"“@/~]+):(?=\S)/;
const CLOSING = { '"': '"', "“": "”" };

/** The typographic minus is what a phone may write. */
export const typed = (text) => text.replace(/(^|\s)−(?=\s|$)/g, "$1-").replace(/\s+/g, " ").trim();

/** `[{away, text}]` of a query, `text` as it was written; what cannot be read is one term. */
export function parse(text) {
  const query = typed(text);
  const terms = [];
  let at = 0;
  let away = false;
  const first = /^([+-])\s+/.exec(query);
  if (first) {
    away = first[1] === "-";
    at = first[0].length;
  }
  while (at < query.length) {
    SIGN.lastIndex = behindQuotes(query, at);
    const sign = SIGN.exec(query);
    const end = sign ? sign.index : query.length;
    const written = query.slice(at, end).trim();
    if (written) terms.push({ away, text: written });
    if (!sign) break;
    away = sign[2] === "-";
    at = sign.index + sign[0].length;
  }
  return terms;
}

function behindQuotes(query, at) {
  const start = at + (query.slice(at).match(/^\s*/)?.[0].length ?? 0);
  const weight = WEIGHT.exec(query.slice(start));
  const open = start + (weight ? weight[0].length : 0);
  const closing = CLOSING[query[open]];
  if (!closing) return start;
  const end = query.indexOf(closing, open + 1);
  return end < 0 ? query.length : end + 1;
}

/** The query of terms; the one that is looked for comes first, for that reads best. */
export function joined(terms) {
  return terms
    .map(({ away, text }, place) => (place === 0 ? (away ? `- ${text}` : text) : `${away ? "-" : "+"} ${text}`))
    .join(" ");
}

/** Whether anything is looked for, and not only pushed away. */
export const asks = (terms) => terms.some((term) => !term.away);
