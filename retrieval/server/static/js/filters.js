// The filters: how each is called, written and told.

export const FIELDS = [
  { name: "in", label: "Folder", example: "~/Pictures/2023", whole: true, told: (value) => ["in", last(value)] },
  { name: "after", label: "Taken from", example: "2021, 2021-07 …", told: (value) => ["from", value] },
  { name: "before", label: "Taken before", example: "2022", told: (value) => ["before", value] },
  { name: "near", label: "Place", example: "Bergen, Italy …", told: (value) => ["near", value] },
  { name: "camera", label: "Camera", example: "Canon, Pixel 7 …", told: (value) => ["camera", value] },
  { name: "tag", label: "Tags, with commas", example: "dog, beach", whole: true, told: (value) => ["tag", value] },
  { name: "min_size", label: "Size at least", example: "1920x1080, 12MP", told: (value) => ["at least", value] },
  {
    name: "type", label: "File type", told: (value) => ["type", value.toUpperCase()],
    values: ["jpeg", "png", "heic", "raw", "webp", "gif", "tiff", "avif", "bmp"],
  },
  {
    name: "orientation", label: "Shape", whole: true, told: (value) => ["shape", value],
    choices: ["landscape", "portrait", "square"],
  },
];

const last = (path) => path.replace(/[/\\]+$/, "").split(/[/\\]/).at(-1) || path;

/** `[{name, value, said: [word, value]}]` of the filters that are set. */
export function told(filters) {
  return FIELDS.flatMap((field) => {
    const values = field.name === "tag" ? filters.tag ?? [] : [filters[field.name]];
    return values.filter(Boolean).map((value) => ({ name: field.name, value, said: field.told(value) }));
  });
}

/** The filters without one of their values. */
export function without(filters, name, value) {
  const rest = { ...filters };
  if (name === "tag") rest.tag = filters.tag.filter((tag) => tag !== value);
  else delete rest[name];
  return rest;
}

export const any = (filters) => told(filters).length > 0;

/** The filters that a form says. */
export function ofForm(form) {
  const given = new FormData(form);
  const filters = { tag: [] };
  for (const field of FIELDS) {
    const value = String(given.get(field.name) ?? "").trim();
    if (!value) continue;
    if (field.name === "tag") filters.tag = value.split(",").map((tag) => tag.trim()).filter(Boolean);
    else filters[field.name] = value;
  }
  return filters;
}
