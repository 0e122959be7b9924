// The views there are: a line each, and a link of the navigation as soon as there are two.
//
// A view is a module with `mount(root, state)`. It gives back
//   update(state, before)   the address has changed; without `before` the same is asked anew
//   end()                   another view comes
// and where it makes sense
//   key(event)              a key that nobody else took
//   around()                {list, good, total, done, more()}: what the viewer moves through
//   left(id)                take a picture out; gives back what brings it in again
// A view's own parameters are in `state.more`, and `go({ more })` changes them. When its list of
// pictures has changed it sends the event "listed" to the document. Links to states need no listener.

/** A view that `asks` shows what is asked for: the question stays where one goes there. */
export const VIEWS = {
  pictures: { label: "Pictures", asks: true, load: () => import("./views/pictures.js") },
  timeline: { label: "Timeline", asks: true, load: () => import("./views/timeline.js") },
  map: { label: "Map", asks: true, load: () => import("./views/map.js") },
  ask: { label: "Ask", load: () => import("./views/ask.js") },
  library: { label: "Library", load: () => import("./views/library.js") },
  duplicates: { label: "Duplicates", load: () => import("./views/duplicates.js") },
};

export const viewOf = (name) => (Object.hasOwn(VIEWS, name) ? name : "pictures");
