// The server gives the chart's module under this name.
export { default } from "uplot"
