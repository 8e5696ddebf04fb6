import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vitest/config';

// The page is served by the hub at `/` from this folder, which git ignores.
const built = '../../hub/api/static';

export default defineConfig({
  plugins: [svelte()],
  build: {
    outDir: built,
    emptyOutDir: true,
    target: 'es2022',
    // The content security policy allows no data: fonts, and a font of its own file is cached.
    assetsInlineLimit: 0,
  },
  server: { proxy: { '/api': 'http://127.0.0.1:8080' } },
  test: { include: ['src/**/*.test.ts'] },
});
