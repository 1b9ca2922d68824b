// The filter of the claims page. Without this script the form stays hidden and the table is whole.
// What is chosen stands in the address, so that a link can ask for it: claims.html?chapter=roar&verdict=mixed
document.addEventListener("DOMContentLoaded", () => {
  const form = document.querySelector("form.claim-filter");
  const rows = [...document.querySelectorAll("table.ledger tbody tr")];
  if (!form || !rows.length) return;
  const lists = [...form.querySelectorAll("select")];
  const words = form.elements.words;
  const texts = new Map(rows.map(row => [row, row.textContent.toLowerCase()]));

  function matches(row) {
    return lists.every(list => !list.value || row.dataset[list.name] === list.value)
      && words.value.toLowerCase().split(/\s+/).every(word => texts.get(row).includes(word));
  }

  function apply() {
    rows.forEach(row => { row.hidden = !matches(row); });
    const left = rows.filter(row => !row.hidden).length;
    form.querySelector("output").textContent = left === rows.length ? `${left} claims` : `${left} of ${rows.length} claims`;
  }

  function remember() {
    const asked = new URLSearchParams([...new FormData(form)].filter(([, value]) => value));
    history.replaceState(null, "", `${location.pathname}${String(asked) && `?${asked}`}`);
  }

  // A link to one claim shows it, whatever was filtered, with its evidence open.
  function open() {
    const row = rows.find(one => one.id === decodeURIComponent(location.hash.slice(1)));
    if (!row) return;
    if (row.hidden) { form.reset(); apply(); }
    row.querySelectorAll("td.evidence details").forEach(part => { part.open = true; });
    row.scrollIntoView();
  }

  const asked = new URLSearchParams(location.search);
  [...lists, words].forEach(field => { field.value = asked.get(field.name) ?? ""; });
  lists.forEach(list => { if (list.selectedIndex < 0) list.value = ""; });
  // On a phone the whole list is thirty screens: it begins with the first paper, unless the address asks for something.
  if (matchMedia("(max-width: 600px)").matches && !location.search && !location.hash) lists[0].selectedIndex = 1;
  form.addEventListener("input", () => { apply(); remember(); });
  form.addEventListener("reset", () => setTimeout(() => { apply(); remember(); }));
  form.addEventListener("submit", event => event.preventDefault());
  window.addEventListener("hashchange", open);
  form.hidden = false;
  apply();
  open();
});
