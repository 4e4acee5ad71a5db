export * as Bodies from "./Bodies.js"
export * as Dashboard from "./Dashboard.js"
