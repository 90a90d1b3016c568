// Buttons that copy the command beside them; where that is not allowed, they select it.
function addCopyButtons(root, announce) {
  for (const button of root.querySelectorAll(".copy")) {
    button.addEventListener("click", async () => {
      const code = button.parentElement.querySelector("code");
      try {
        await navigator.clipboard.writeText(code.textContent);
        announce("Copied");
        button.textContent = "Copied";
        setTimeout(() => { button.textContent = "Copy"; }, 1500);
      } catch { getSelection().selectAllChildren(code); }
    });
  }
}
