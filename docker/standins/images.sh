# Stand-ins for the public images, under their names and tags, for a machine that cannot pull. They consist of Debian's
# packages, this machine's Rust, and Kafka's jars from Maven. They test the Dockerfile and the compose files, not the public
# images. Never push them: they contain this machine's certificate authorities. docker/test sources this, and makes them
# only in its own engine.
# shellcheck shell=bash

standins=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# debian_image NAME SUITE PACKAGES [OPTION...]: options of `docker import` come after PACKAGES up to --, then those of
# mmdebstrap.
debian_image() {
    local name=$1 suite=$2 packages=$3
    shift 3
    local import=()
    while [ $# -gt 0 ] && [ "$1" != -- ]; do
        import+=(--change "$1")
        shift
    done
    [ $# -eq 0 ] || shift
    mmdebstrap --quiet --mode=root --variant=minbase ${packages:+--include="$packages"} \
        --dpkgopt=force-unsafe-io --dpkgopt='path-exclude=/usr/share/doc/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' --aptopt='Acquire::Languages "none"' \
        "$@" "$suite" - "$(debian_mirror)" | docker import "${import[@]}" - "$name" >/dev/null
}

debian_bookworm_slim() { debian_image debian:bookworm-slim bookworm '' 'CMD ["bash"]'; }

# The machine's own toolchain, without its documentation.
rust_bookworm() {
    local toolchain
    toolchain=$(rustc --print sysroot)
    debian_image rust:1.95-bookworm bookworm ca-certificates,gcc,g++,git,libc6-dev,libssl-dev,make,pkg-config,zlib1g-dev \
        'ENV CARGO_HOME=/usr/local/cargo PATH=/usr/local/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
        -- --customize-hook="mkdir \"\$1/usr/local/rust\" && cp -a '$toolchain/bin' '$toolchain/lib' \"\$1/usr/local/rust\"" \
        --customize-hook='copy-in /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs'
}

postgres_17() {
    debian_image postgres:17 trixie postgresql-17 \
        'ENV PATH=/usr/lib/postgresql/17/bin:/usr/local/bin:/usr/bin:/bin PGDATA=/var/lib/postgresql/data LANG=C.UTF-8' \
        'VOLUME /var/lib/postgresql/data' 'EXPOSE 5432' 'STOPSIGNAL SIGINT' \
        'ENTRYPOINT ["docker-entrypoint.sh"]' 'CMD ["postgres"]' \
        -- --customize-hook="copy-in '$standins/postgres/docker-entrypoint.sh' /usr/local/bin" \
        --chrooted-customize-hook='rm -r /var/lib/postgresql/17 && mkdir /var/lib/postgresql/data /docker-entrypoint-initdb.d && chown postgres:postgres /var/lib/postgresql/data && chmod 700 /var/lib/postgresql/data'
}

# Uses the jars of Kafka that the tests fetched, if they did.
kafka_4_3_1() {
    local jars=${XDG_CACHE_HOME:-$HOME/.cache}/streamseal-tests/kafka-4.3.1
    if [ ! -d "$jars" ]; then
        jars=$1/kafka
        # Tests fetch the same files at the same time, and two Mavens cannot share a repository.
        mvn --batch-mode --quiet --file "$standins/../../testbed/kafka/pom.xml" dependency:copy-dependencies \
            -DincludeScope=runtime -DoutputDirectory="$jars" -Dmaven.repo.local="$1/maven"
    fi
    debian_image apache/kafka:4.3.1 bookworm openjdk-17-jre-headless \
        'USER appuser' 'VOLUME /var/lib/kafka/data' 'EXPOSE 9092' 'CMD ["/etc/kafka/docker/run"]' \
        -- --customize-hook="mkdir -p \"\$1/opt/kafka/libs\" && cp '$jars'/*.jar \"\$1/opt/kafka/libs\"" \
        --customize-hook="mkdir -p \"\$1/etc/kafka\" && cp -r '$standins/kafka' \"\$1/etc/kafka/docker\"" \
        --chrooted-customize-hook='useradd --uid 1000 appuser && /etc/kafka/docker/setup'
}
