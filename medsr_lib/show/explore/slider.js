// A slider whose name a screen reader says: the browser's own, with its label and its number.

function render({ model, el }) {
  const label = document.createElement("label"), text = document.createElement("span");
  const range = document.createElement("input"), number = document.createElement("output");
  range.type = "range";
  label.append(text, range);
  el.append(label, number);
  el.classList.add("medsr-slider");
  el.setAttribute("data-lm-suppress-shortcuts", "true");  // arrow keys are the slider's, not JupyterLab's
  el.onkeydown = (event) => event.stopPropagation();
  const show = () => {
    text.textContent = model.get("description");
    for (const name of ["min", "max", "value"]) range[name] = model.get(name);
    number.textContent = model.get("value");
  };
  const send = () => {
    model.set("value", Number(range.value));
    model.save_changes();
  };
  range.oninput = () => {
    number.textContent = range.value;
    if (model.get("continuous_update")) send();
  };
  range.onchange = send;
  model.on("change", show);
  show();
}

export default { render };
