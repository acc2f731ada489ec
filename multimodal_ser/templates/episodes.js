"use strict";
(() => {
  const table = document.getElementById("episodes"), body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, at) => head.querySelector("button").addEventListener("click", () => {
    const rising = head.getAttribute("aria-sort") !== "ascending";
    const value = (row) => row.cells[at].dataset.value;
    const compare = (one, two) => (at ? Number(one) - Number(two) : one.localeCompare(two));
    const rows = [...body.rows].sort((a, b) => {
      if (value(a) === "" || value(b) === "") return (value(a) === "") - (value(b) === "");
      return compare(value(a), value(b)) * (rising ? 1 : -1);
    });
    body.append(...rows);
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", rising ? "ascending" : "descending");
  }));
})();
