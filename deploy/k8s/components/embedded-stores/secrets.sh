#!/bin/sh
# Prints the namespace and the Secrets of a trial with fresh random passwords, for `kubectl create -f -`.
set -eu

random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
postgres=$(random) features=$(random) recommender=$(random) redis=$(random)

cat <<YAML
apiVersion: v1
kind: Namespace
metadata:
  name: windowshop
---
apiVersion: v1
kind: Secret
metadata:
  name: features-stores
  namespace: windowshop
stringData:
  FEATURES_DATABASE_URL: postgresql://features:$features@postgres:5432/features
  FEATURES_REDIS_URL: redis://:$redis@redis:6379/0
---
apiVersion: v1
kind: Secret
metadata:
  name: recommender-stores
  namespace: windowshop
stringData:
  RECOMMENDER_DATABASE_URL: postgresql://recommender:$recommender@postgres:5432/recommender
---
apiVersion: v1
kind: Secret
metadata:
  name: embedded-stores
  namespace: windowshop
stringData:
  POSTGRES_PASSWORD: $postgres
  FEATURES_PASSWORD: $features
  RECOMMENDER_PASSWORD: $recommender
  REDISCLI_AUTH: $redis
YAML
