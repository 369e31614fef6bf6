/** VitePress, imported once it is installed. */
export { build, serve } from "vitepress";
