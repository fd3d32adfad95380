# syntax=docker/dockerfile:1
# One file for all four images: docker build --build-arg BIN=bff-mobile|bff-web|bff-public|ftgo .
# The build does not depend on BIN, so the four share every layer up to the last copy.

ARG BIN=bff-mobile

FROM rust:1.95-bookworm AS chef
RUN cargo install --locked --version 0.1.78 cargo-chef
WORKDIR /src

# What the dependencies follow from, and nothing else.
FROM chef AS plan
COPY . .
RUN cargo chef prepare --recipe-path recipe.json

# The dependencies: this layer is reused until a manifest or the lock file changes.
FROM chef AS build
COPY --from=plan /src/recipe.json recipe.json
RUN cargo chef cook --release --locked --workspace --bins --recipe-path recipe.json
COPY . .
RUN cargo build --release --locked --workspace --bins \
 && install -D -t /out target/release/ftgo target/release/bff-mobile target/release/bff-web target/release/bff-public \
 && install -d -o 65532 -g 65532 /data /keys

# No shell, no package manager; glibc, libgcc, CA certificates and the user 65532.
FROM gcr.io/distroless/cc-debian12:nonroot AS runtime
WORKDIR /
USER 65532:65532

FROM runtime AS bff-mobile
COPY --from=build /out/bff-mobile /usr/local/bin/
COPY config/mobile.toml config/demo.toml /etc/ftgo/
COPY --from=build --chown=65532:65532 /data /data
ENV STORE_PATH=/data/bff-mobile.db
VOLUME /data
EXPOSE 8081 9081
ENTRYPOINT ["/usr/local/bin/bff-mobile"]
CMD ["--config", "/etc/ftgo/mobile.toml"]

FROM runtime AS bff-web
COPY --from=build /out/bff-web /usr/local/bin/
COPY config/web.toml config/demo.toml /etc/ftgo/
EXPOSE 8080 9080
ENTRYPOINT ["/usr/local/bin/bff-web"]
CMD ["--config", "/etc/ftgo/web.toml"]

FROM runtime AS bff-public
COPY --from=build /out/bff-public /usr/local/bin/
COPY config/public.toml config/demo.toml /etc/ftgo/
COPY --from=build --chown=65532:65532 /data /data
ENV STORE_PATH=/data/bff-public.db
VOLUME /data
EXPOSE 8082 9082
ENTRYPOINT ["/usr/local/bin/bff-public"]
CMD ["--config", "/etc/ftgo/public.toml"]

# All services in one process: for development and demonstrations only.
FROM runtime AS ftgo
COPY --from=build /out/ftgo /usr/local/bin/
COPY --from=build --chown=65532:65532 /data /data
COPY --from=build --chown=65532:65532 /keys /keys
VOLUME /data
EXPOSE 8100 8101 8102 8103 8104 8105 8106 8107
ENTRYPOINT ["/usr/local/bin/ftgo"]
CMD ["services", "--host", "0.0.0.0", "--data", "/data", "--seed"]

FROM ${BIN}
