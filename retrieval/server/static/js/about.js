// What this server lets a page do, told by the page itself before anything is drawn.

/**
 * Whether the library may be changed from here: false for `search serve --read-only`. What only
 * changes things has the class "writes", or is left out; keys and calls ask here.
 */
export const writable = () => !document.documentElement.hasAttribute("data-readonly");
