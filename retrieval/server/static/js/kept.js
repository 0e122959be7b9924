// What the browser keeps: small choices, and the pictures that were dropped, so that a reload finds them.

const memory = new Map();
const STORE = "dropped";
const MOST = 12;

/** A small choice; a browser that keeps nothing forgets it with the page. */
export function remember(name, value) {
  memory.set(name, value);
  try {
    if (value === null) localStorage.removeItem(name);
    else localStorage.setItem(name, value);
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
  }
}

export function recall(name) {
  if (memory.has(name)) return memory.get(name);
  try {
    return localStorage.getItem(name);
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
    return null;
  }
}

const files = new Map();

function finished(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

async function opened() {
  const request = indexedDB.open("pictures", 1);
  request.onupgradeneeded = () => request.result.createObjectStore(STORE);
  return finished(request);
}

async function within(mode, work) {
  let database;
  try {
    database = await opened();
    return await work(database.transaction(STORE, mode).objectStore(STORE));
  } catch (error) {
    // Private windows and full disks: the picture lasts as long as the page then.
    if (!(error instanceof DOMException)) throw error;
    return null;
  } finally {
    database?.close();
  }
}

/** Keep a dropped picture and give back the key that stands for it in the address. */
export async function keep(file) {
  const key = `${Date.now().toString(36)}-${crypto.getRandomValues(new Uint32Array(1))[0].toString(36)}`;
  files.set(key, file);
  await within("readwrite", async (store) => {
    await finished(store.put(file, key));
    const keys = await finished(store.getAllKeys());
    for (const old of keys.sort().slice(0, -MOST)) await finished(store.delete(old));
  });
  return key;
}

/** The picture of a key, or null where this browser has it no more. */
export async function keptFile(key) {
  if (!files.has(key)) {
    const file = await within("readonly", (store) => finished(store.get(key)));
    if (file) files.set(key, file);
  }
  return files.get(key) ?? null;
}
