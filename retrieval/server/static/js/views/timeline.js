// The library over time, or what was asked for: a chart of years, months or days, and the pictures of what is chosen.

import { Problem, get, newest } from "../api.js";
import { h, icon } from "../dom.js";
import { feed } from "../feed.js";
import { any } from "../filters.js";
import { histogram } from "../histogram.js";
import { say } from "../notes.js";
import { NOTHING, addressOf, back, go, state } from "../router.js";
import { asked, sorting } from "../sections.js";
import { sourceOf } from "../source.js";
import { between, chartOf, chosen, everywhen, firstDay, said, spansOf, toldSpan, unitOf } from "../spans.js";
import { failed, nothingHere, nothingPasses, waiting } from "../states.js";
import { day, month, number, pictures } from "../words.js";

/** Milliseconds. */
const PATIENCE = 250;
/** More spans than this are not all drawn: those without pictures are left out. */
const MOST_BARS = 150;

/** What the timeline is of: dropped pictures have none. */
const subject = ({ q, like }) => (like ? { like } : { q });
const sum = (spans, name) => spans.reduce((all, one) => all + one[name], 0);
const within = (spans, { from, to }) => spans.filter(({ span }) =>
  (!from || firstDay(span) >= firstDay(from.slice(0, span.length))) && (!to || firstDay(span) < to));

export function mount(root, first) {
  const one = newest();
  let now = first;
  let shown = null;
  let source = null;
  let slow = 0;
  let known = { key: null, months: null };

  const sourceFor = (state) => sourceOf({ ...state, pictures: [], sort: state.q || state.like ? "date" : state.sort });

  async function read(signal) {
    const rest = everywhen(now.filters);
    const key = JSON.stringify([subject(now), rest]);
    if (known.key !== key) known = { key, months: await get("/timeline", { by: "month", ...rest, ...subject(now) }, signal) };
    const { months } = known;
    const picked = chosen(now.filters);
    if (!months.spans.length) return { months, picked, chart: null, spans: [] };
    const chart = chartOf(picked, months.spans[0].span, months.spans.at(-1).span);
    const spans = chart.unit === "day"
      ? (await get("/timeline", { by: "day", ...rest, after: chart.begin, before: chart.end, ...subject(now) }, signal)).spans
      : chart.unit === "month" ? months.spans : years(months.spans);
    return { months, picked, chart, spans };
  }

  function begin() {
    if (source && shown) source.scroll = scrollY;
    const atChart = root.querySelector(".chart")?.contains(document.activeElement) ?? false;
    source = sourceFor(now);
    const wanted = source;
    root.setAttribute("aria-busy", "true");
    clearTimeout(slow);
    slow = setTimeout(() => {
      leave();
      root.replaceChildren(h("div", { class: "timeline" }, h("div", { class: "chart empty", "aria-hidden": "true" }), waiting()));
    }, shown ? PATIENCE : 0);
    const fresh = !source.started;
    one(async (signal) => {
      const [found] = await Promise.all([read(signal), fresh ? wanted.more() : null]);
      return found;
    }).then((found) => {
      leave();
      draw(found, { atChart, fresh });
    }, (problem) => {
      if (!(problem instanceof Problem)) throw problem;
      leave();
      root.removeAttribute("aria-busy");
      root.replaceChildren(failed(problem, () => begin()));
      say(problem.message);
    });
  }

  function leave() {
    clearTimeout(slow);
    shown?.end();
    shown = null;
  }

  function draw({ months, picked, chart, spans }, { atChart, fresh }) {
    root.removeAttribute("aria-busy");
    const title = toldSpan(picked) ?? "All time";
    document.title = `${title} · Timeline`;
    const place = h("div", { class: "timeline" });
    root.replaceChildren(place);
    if (!chart && !source.items.length) {
      place.append(nothing());
      say("No pictures.");
      return;
    }
    const counted = within(spans, picked);
    const count = source.total ?? (source.done ? source.items.length : sum(counted, "images"));
    const head = h("div", { class: "head" },
      h("div", { class: "span-title" },
        step("left", "before", months, spans, picked), step("right", "after", months, spans, picked),
        h("h1", {}, title, " ", h("span", { class: "count" }, pictures(count), asked(now) && ` for ${now.like ? "this picture" : `“${now.q}”`}`))),
      asked(now) ? null : sorting({ newest: "newest first", oldest: "oldest first" }, now.sort));
    place.append(crumbs(picked), head);
    if (chart) {
      place.append(histogram(filled(chart, spans), {
        chosen: narrower(picked, chart) ? { from: picked.from, to: picked.to } : null,
        label: `Pictures by ${chart.unit}. Arrow keys move, Enter opens, Shift and arrow keys take several.`,
      }));
    }
    place.append(...remarks(months, counted, picked));
    if (now.pictures.length) place.append(h("p", { class: "remark" }, "A dropped picture has no timeline: this is the whole library."));
    for (const note of [...months.notes, ...source.notes]) place.append(h("p", { class: "remark" }, note));
    if (source.items.length) {
      shown = feed(place, source, { parts: () => partsOf(chart, months, spans), label: title });
    } else place.append(h("p", { class: "remark" }, `No pictures of this time${asked(now) ? " match well" : ""}.`));
    const bar = place.querySelector(".chart a[tabindex='0']");
    bar?.scrollIntoView({ block: "nearest", inline: "center" });
    scrollTo(0, atChart || fresh ? 0 : source.scroll);
    if (atChart) bar?.focus({ preventScroll: true });
    say(`${title}, ${pictures(count)}`);
  }

  /** By months, or by days where the chart shows days; how many there are is known from the chart. */
  function partsOf(chart, months, spans) {
    const items = source.items;
    if (now.like || now.sort === "name") return [{ title: null, items }];
    const byDay = chart?.unit === "day" && (now.filters.after || now.filters.before);
    const counts = new Map((byDay ? spans : months.spans).map((one) => [one.span, one]));
    const parts = [];
    for (const item of items) {
      const span = item.taken?.slice(0, byDay ? 10 : 7) ?? null;
      const title = span ? (byDay ? day : month)(span) : "No date";
      if (parts.at(-1)?.title !== title) parts.push({ title, note: noteOf(counts.get(span)), items: [] });
      parts.at(-1).items.push(item);
    }
    return parts;
  }

  function nothing() {
    if (now.q || now.like) {
      return h("div", { class: "state" }, h("h2", {}, `No good match${now.like ? "" : ` for “${now.q}”`}`),
        h("p", {}, "What comes closest is among the pictures."),
        h("div", { class: "buttons" }, h("a", { class: "button main-one", href: addressOf({ view: "pictures", open: null }) }, "See what comes closest")));
    }
    if (any(now.filters)) return nothingPasses(() => go({ filters: { tag: [] } }));
    return nothingHere();
  }

  /** One step out of time: from a day to its month, from there to its year, then to all of it. */
  function outer() {
    const { from, to, name } = chosen(now.filters);
    if (!from && !to) return null;
    const next = name && { day: name.slice(0, 7), month: name.slice(0, 4), year: null }[unitOf(name)];
    return next ? between(now.filters, next) : everywhen(now.filters);
  }

  begin();
  return {
    update(next, before) {
      const opened = before?.open ?? null;
      now = next;
      if (!before) {
        source.forget();
        known = { key: null };
      }
      if (sourceFor(next) !== source) begin();
      else if (opened && !next.open) {
        shown?.grid.fit();
        shown?.grid.focusOn(opened);
      }
    },
    key(event) {
      if (event.key === "Escape") {
        const filters = outer();
        if (filters) go({ filters, open: null });
        else if (asked(now) || any(now.filters)) back({ ...NOTHING, view: "timeline" });
        return;
      }
      const up = event.key === "ArrowUp" && shown?.grid.hasFocus() && shown.grid.place.get(shown.grid.current)?.row === 0;
      if (up || (event.key === "ArrowUp" && !shown?.grid.hasFocus())) {
        event.preventDefault();
        root.querySelector(".chart a[tabindex='0']")?.focus();
      } else shown?.key(event);
    },
    left: (id) => shown?.left(id) ?? (() => {}),
    around: () => shown?.around() ?? null,
    end() {
      one(() => new Promise(() => {}));
      leave();
    },
  };
}

function years(months) {
  const found = new Map();
  for (const { span, images, by_file } of months) {
    const year = found.get(span.slice(0, 4)) ?? { span: span.slice(0, 4), images: 0, by_file: 0 };
    found.set(year.span, { ...year, images: year.images + images, by_file: year.by_file + by_file });
  }
  return [...found.values()];
}

/** The spans of a chart with those that have no pictures: a gap is seen as one. */
function filled(chart, spans) {
  const counted = new Map(spans.map((one) => [one.span, one]));
  const names = spansOf(chart);
  const all = names.map((span) => counted.get(span) ?? { span, images: 0, by_file: 0 });
  return all.length > MOST_BARS ? all.filter((one) => one.images) : all;
}

/** Whether less is chosen than the chart shows. */
const narrower = ({ from, to }, { begin, end }) => Boolean(from && to && (from > begin || to < end));

function noteOf(counted) {
  if (!counted) return null;
  const { images, by_file } = counted;
  if (!by_file) return pictures(images);
  return `${pictures(images)}, ${by_file === images ? "by file date" : `${number(by_file)} by file date`}`;
}

function crumbs(picked) {
  const { name } = picked;
  const link = (label, filters) => h("li", {}, h("a", { href: addressOf({ filters, open: null }) }, label));
  const parts = [];
  if (picked.from || picked.to) parts.push(link("All time", everywhen(state().filters)));
  if (name && name.length > 4) parts.push(link(name.slice(0, 4), between(state().filters, name.slice(0, 4))));
  if (name && name.length > 7) parts.push(link(month(name.slice(0, 7)), between(state().filters, name.slice(0, 7))));
  return h("nav", { class: "crumbs", "aria-label": "Longer stretches of time", hidden: !parts.length }, h("ol", { role: "list" }, parts));
}

/** To the nearest span of the same length that has pictures. */
function step(sign, side, months, spans, { name }) {
  if (!name) return null;
  const near = (all, from) => {
    const others = all.map(({ span }) => span).filter((span) => (side === "before" ? span < from : span > from));
    return side === "before" ? others.at(-1) : others[0];
  };
  const unit = unitOf(name);
  const found = unit === "year" ? near(years(months.spans), name) : unit === "month" ? near(months.spans, name)
    : near(spans, name) ?? near(months.spans, name.slice(0, 7));
  if (!found) return h("span", { class: "icon none", "aria-hidden": "true" }, icon(sign));
  return h("a", { class: "icon", href: addressOf({ filters: between(state().filters, found), open: null }), "aria-label": said(found), title: said(found) }, icon(sign));
}

function remarks(months, counted, picked) {
  const files = sum(counted, "by_file");
  const told = [];
  if (files) {
    told.push(h("p", { class: "remark by-file" }, h("i", { class: "swatch", "aria-hidden": "true" }),
      `${files === 1 ? "1 picture is" : `${number(files)} pictures are`} dated by ${files === 1 ? "its file" : "their files"} alone: that may be the day of a copy.`));
  }
  if (months.undated && !picked.from && !picked.to) {
    told.push(h("p", { class: "remark" }, `${months.undated === 1 ? "1 picture has" : `${number(months.undated)} pictures have`} no date and no place here${months.spans.length ? "; below they come last" : ""}.`));
  }
  return told;
}
