// Colours the text along the chosen direction, and says a token's scores on pointing or focus.
(() => {
  "use strict";
  const { names, values, band, reach } = JSON.parse(document.getElementById("reading").textContent);
  const text = document.getElementById("pieces");
  const readout = document.getElementById("readout");
  const spans = [...text.querySelectorAll("[data-piece]")];
  const buttons = [...document.querySelectorAll("[data-choice]")];
  let chosen = 0;

  // As the tables write figures: +.82, −1.50; a small one keeps its first digit.
  function figure(value) {
    const size = Math.abs(value);
    const digits = size && size < 0.005 ? -Math.floor(Math.log10(size)) : 2;
    const sign = value < 0 ? "−" : value > 0 ? "+" : "";
    return sign + size.toFixed(digits).replace(/^0/, "");
  }

  const side = (value) => (value > band[1] ? "above" : value < band[0] ? "below" : "inside");

  function colour() {
    for (const span of spans) {
      const value = values[span.dataset.piece][chosen];
      const word = span.getAttribute("aria-label").replace(/: [^:]*$/, "");
      span.dataset.sign = value < 0 ? "minus" : "plus";
      span.dataset.side = side(value);
      span.dataset.score = figure(value);
      span.style.setProperty("--s", Math.min(Math.abs(value) / reach, 1).toFixed(3));
      span.title = `${word}: ${figure(value)}`;
      span.setAttribute("aria-label", span.title);
    }
    buttons.forEach((button, place) => button.setAttribute("aria-pressed", String(place === chosen)));
  }

  function tell(span) {
    const scores = values[span.dataset.piece];
    const all = names.map((name, place) => `${name} ${figure(scores[place])}`);
    const where = side(scores[chosen]);
    readout.textContent = `${span.title}, ${where} the control’s band. ${all.join(" · ")}`;
  }

  buttons.forEach((button, place) => {
    button.addEventListener("click", () => {
      chosen = place;
      colour();
    });
  });
  for (const event of ["mouseover", "focusin"]) {
    text.addEventListener(event, ({ target }) => {
      const span = target.closest("[data-piece]");
      if (span) tell(span);
    });
  }
  // One stop for the Tab key, however long the text; the arrows go on from there.
  const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 1, ArrowUp: -1 };
  text.addEventListener("keydown", (event) => {
    const here = spans.indexOf(document.activeElement);
    const next = spans[here + (steps[event.key] ?? 0)];
    if (here < 0 || !(event.key in steps) || !next) return;
    event.preventDefault();
    spans[here].tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });
  document.getElementById("numbers").addEventListener("change", ({ target }) => {
    document.body.classList.toggle("numbers", target.checked);
  });
})();
