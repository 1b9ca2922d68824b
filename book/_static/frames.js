// What is too wide scrolls inside a frame. The frame can be reached by keyboard, and fades where there is more.
document.addEventListener("DOMContentLoaded", () => {
  const scrolls = element => ["auto", "scroll"].includes(getComputedStyle(element).overflowX);
  const frames = () => [...document.querySelectorAll(".bd-article :is(figure, div, pre, .math)")].filter(scrolls);

  function cue({ target }) {
    target.classList.toggle("more-right", target.scrollLeft + target.clientWidth < target.scrollWidth - 2);
  }

  function look() {
    for (const frame of frames()) {
      if (frame.scrollWidth > frame.clientWidth + 1) {
        frame.tabIndex = 0;
        frame.addEventListener("scroll", cue, { passive: true });
      } else if (frame.tabIndex === 0) frame.removeAttribute("tabindex");
      cue({ target: frame });
    }
  }

  look();
  window.addEventListener("load", look);
  window.addEventListener("resize", look);
  document.addEventListener("toggle", look, true);
});
