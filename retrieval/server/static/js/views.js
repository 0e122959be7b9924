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

export const VIEWS = {
  pictures: { label: "Pictures", load: () => import("./views/pictures.js") },
};

export const viewOf = (name) => (Object.hasOwn(VIEWS, name) ? name : "pictures");
