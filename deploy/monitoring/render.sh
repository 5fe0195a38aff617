#!/bin/sh
# Wraps rules.yaml, which promtool reads, into the resource that the Prometheus operator reads.
set -eu
cd "$(dirname "$0")"

{
  cat <<'YAML'
# Generated from deploy/monitoring/rules.yaml by deploy/monitoring/render.sh.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: windowshop
spec:
YAML
  sed '/./s/^/  /' rules.yaml
} > "${1:-../k8s/components/monitoring/rules.yaml}"
