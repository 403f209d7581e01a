FROM node:22-alpine AS build
WORKDIR /app
COPY package.json package-lock.json tsconfig.json tsconfig.build.json ./
# Without scripts: `prepare` would build before the sources are here.
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY src ./src
RUN npm run build && npm prune --omit=dev --ignore-scripts --no-audit --no-fund

FROM node:22-alpine
LABEL org.opencontainers.image.title="walhook" \
      org.opencontainers.image.description="PostgreSQL row changes as signed webhooks, configured and logged in SQL" \
      org.opencontainers.image.licenses="MIT"
ENV NODE_ENV=production
WORKDIR /app
COPY package.json ./
COPY sql ./sql
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
USER node
# `walhook run` finishes its deliveries and its last checkpoint within 10 s of SIGTERM.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
  CMD ["node", "dist/cli/walhook.cjs", "health"]
ENTRYPOINT ["node", "dist/cli/walhook.cjs"]
CMD ["run"]
