function follow(compare) {
  const slider = compare.querySelector("input");
  const place = () => compare.style.setProperty("--split", slider.value + "%");
  slider.addEventListener("input", place);
  place();
}
