"use strict";
(() => {
  const part = (name) => document.getElementById("view" + name);
  const view = part("");
  const pictures = [...document.querySelectorAll(".picture")];
  let shown = 0;

  function show(index) {
    shown = (index + pictures.length) % pictures.length;
    const link = pictures[shown];
    const small = link.querySelector("img");
    const image = part("-image");
    image.src = small.src;
    image.alt = small.alt;
    part("-name").textContent = link.title;
    part("-file").href = link.href;
    // The original replaces the embedded picture where this browser can read and draw it.
    const original = new Image();
    original.onload = () => { if (pictures[shown] === link) image.src = original.src; };
    original.src = link.href;
    if (!view.open) view.showModal();
  }

  pictures.forEach((link, index) => link.addEventListener("click", (event) => {
    if (event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey || !view.showModal) return;
    event.preventDefault();
    show(index);
  }));
  part("-back").addEventListener("click", () => show(shown - 1));
  part("-next").addEventListener("click", () => show(shown + 1));
  part("-close").addEventListener("click", () => view.close());
  part("-image").addEventListener("click", () => view.close());
  view.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") show(shown - 1);
    if (event.key === "ArrowRight") show(shown + 1);
  });
  view.addEventListener("close", () => pictures[shown].focus());
})();
