// The slider of "what if eta_knob were another": it asks for the page of the answer and takes that over.
// Without it the form leads to that page.
"use strict";

(() => {
  const form = document.getElementById("what-if-form");
  if (form === null) return;
  const number = document.getElementById("eta-knob");
  const slider = document.getElementById("eta-slider");
  let waiting = null;
  let asking = null;

  async function ask() {
    if (!number.checkValidity()) return;
    asking?.abort();
    asking = new AbortController();
    const query = new URLSearchParams(new FormData(form));
    const answer = await fetch(`${form.action}?${query}`, { headers: { Accept: "text/html" }, signal: asking.signal });
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    const part = fresh.getElementById("what-if-answer") ?? fresh.querySelector("main section");
    document.getElementById("what-if-answer").replaceChildren(...part.childNodes);
  }

  function askSoon() {
    clearTimeout(waiting);
    waiting = setTimeout(() => ask().catch(() => {}), 150); // the next move, or a server that is away
  }

  slider.hidden = false;
  slider.addEventListener("input", () => {
    number.value = slider.value;
    askSoon();
  });
  number.addEventListener("input", () => {
    slider.value = number.value;
    askSoon();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    askSoon();
  });
})();
