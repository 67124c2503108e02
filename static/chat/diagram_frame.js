// Inside the sandboxed frame of a diagram: draws the source that the page sends, and says how large it is.
/* global mermaid */

addEventListener("message", async ({ source, data }) => {
  if (source !== parent || typeof data?.source !== "string") return;
  mermaid.initialize({ startOnLoad: false, securityLevel: "strict", maxTextSize: 50_000, theme: data.isDark ? "dark" : "default", fontFamily: "system-ui, sans-serif" });
  try {
    const { svg } = await mermaid.render("diagram", data.source);
    // This document has an origin of its own, no network and no data.
    document.body.innerHTML = svg;
    parent.postMessage({ height: Math.ceil(document.body.getBoundingClientRect().height) }, "*");
  } catch (error) {
    parent.postMessage({ error: String(error?.message ?? error).slice(0, 300) }, "*");
  }
});
parent.postMessage({ isReady: true }, "*");
