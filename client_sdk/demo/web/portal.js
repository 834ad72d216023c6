// All that the portal's page does: it gives tokens, and shows that something came. What was said it cannot read.
const element = document.querySelector("coach-relay");
const news = document.querySelector("#news");

element.tokenProvider = async () => {
  const answer = await fetch("/token", { method: "POST" });
  if (!answer.ok) throw new Error(`the portal answered ${answer.status}`);
  return (await answer.json()).token;
};

const title = document.title;
element.addEventListener("message", ({ detail }) => {
  document.title = detail.unread > 0 ? `(${detail.unread}) ${title}` : title;
});
element.addEventListener("knock", () => {
  news.textContent = "Somebody waits to be let in.";
});
element.addEventListener("joined", () => {
  news.textContent = "In a call.";
});
element.addEventListener("left", () => {
  news.textContent = "";
});
element.addEventListener("error", ({ detail }) => {
  console.warn(detail.code, detail.message);
});
