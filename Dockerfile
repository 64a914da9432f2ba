# syntax=docker/dockerfile:1

# Node comes with the base image, so the packages that pin it for development (optional dependencies) are left out.
FROM node:24-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --omit=optional --ignore-scripts && npm cache clean --force

FROM node:24-slim
# Host and port are set here, over the file's, so that the health check below always asks the right place.
ENV NODE_ENV=production \
    HOST=0.0.0.0 \
    PORT=8787 \
    TOLLGATE_DATA_DIR=/data
WORKDIR /app
# PGlite writes files that anyone may read: the folder keeps others out.
RUN mkdir -m 0700 /data && chown node:node /data
COPY --from=dependencies /app/node_modules ./node_modules
COPY package.json LICENSE ./
COPY config ./config
COPY src ./src
USER node
VOLUME /data
EXPOSE 8787
# The gateway stops taking calls, lets the running ones end, settles them and leaves. Give it that time (docker stop -t).
STOPSIGNAL SIGTERM
# The first start makes the embedded database, which takes up to half a minute on a busy machine.
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
  CMD ["node", "-e", "fetch('http://127.0.0.1:' + (process.env.PORT || 8787) + '/readyz', { signal: AbortSignal.timeout(2500) }).then((reply) => process.exit(reply.ok ? 0 : 1), () => process.exit(1))"]
CMD ["node", "src/entry/node.ts"]
