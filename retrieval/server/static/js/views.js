// The views there are. Each is a module with `mount(root, state)`, which gives back
// `{update(state, before), key?(event), end()}`; a view reads and writes its own parameters in `state.more`.

export const VIEWS = {
  pictures: { label: "Pictures", load: () => import("./views/pictures.js") },
};

export const viewOf = (name) => (Object.hasOwn(VIEWS, name) ? name : "pictures");
