// How vite-node finds the sources when a test runs a program as a process of its own.
import { alias } from "../../../../vitest.shared.js"

export default { resolve: { alias }, cacheDir: false }
