import { defineConfig } from "vitest/config"
import { alias } from "../../../../vitest.shared.js"

/** The stand reads the sources, as the tests do. */
export default defineConfig({ resolve: { alias } })
