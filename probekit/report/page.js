// Draws the page's figures, and redraws them when the theme or a menu changes.
(() => {
  "use strict";
  const root = document.documentElement;
  const button = document.getElementById("theme");
  const systemDark = matchMedia("(prefers-color-scheme: dark)");
  const printing = matchMedia("print");
  const text = document.getElementById("figures").textContent;
  const dark = new Map(Object.entries(JSON.parse(document.getElementById("dark").textContent)));

  // Drawings carry the light theme's colours; the dark ones replace them, value by value.
  const drawings = {
    light: JSON.parse(text),
    dark: JSON.parse(text, (_, value) => dark.get(value) ?? value),
  };
  const config = { displayModeBar: false, responsive: true, scrollZoom: false };

  const theme = () => root.dataset.theme ?? (systemDark.matches ? "dark" : "light");

  function draw(key) {
    const colours = printing.matches ? "light" : theme();
    const menu = document.getElementById(`${key}-view`);
    const view = drawings[colours][key][menu ? Number(menu.value) : 0];
    document.getElementById(`${key}-summary`).textContent = view.summary;
    // plotly keeps what it is given and writes into it: each drawing gets its own copy.
    const { data, layout } = structuredClone(view.figure);
    // A sheet's width is not known to scripts: this fits A4 and Letter.
    if (printing.matches) layout.width = 660;
    const place = document.getElementById(key);
    place.style.height = `${layout.height}px`;
    Plotly.react(place, data, layout, config);
  }

  function drawAll() {
    button.setAttribute("aria-pressed", String(theme() === "dark"));
    for (const key of Object.keys(drawings.light)) draw(key);
  }

  button.addEventListener("click", () => {
    root.dataset.theme = theme() === "dark" ? "light" : "dark";
    drawAll();
  });
  systemDark.addEventListener("change", () => drawAll());
  for (const menu of document.querySelectorAll("select[data-figure]")) {
    menu.addEventListener("change", () => draw(menu.dataset.figure));
  }
  printing.addEventListener("change", () => drawAll());
  addEventListener("beforeprint", () => {
    for (const closed of document.querySelectorAll("details")) closed.open = true;
  });
  drawAll();
})();
