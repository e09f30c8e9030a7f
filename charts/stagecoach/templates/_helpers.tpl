{{/* The chart's name. */}}
{{- define "stagecoach.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* The name of all objects; also of the Lease. Short enough for what is added to it. */}}
{{- define "stagecoach.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains (include "stagecoach.name" .) .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "stagecoach.name" .) | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "stagecoach.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "stagecoach.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- required "serviceAccount.name is required with serviceAccount.create=false" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* By what the operator's pods are found. */}}
{{- define "stagecoach.selectorLabels" -}}
app.kubernetes.io/name: {{ include "stagecoach.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{/*
Labels of the chart's own objects. managed-by is never `stagecoach` here: that is the mark of what the operator makes,
and by which it finds it.
*/}}
{{- define "stagecoach.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "stagecoach.selectorLabels" . }}
app.kubernetes.io/part-of: stagecoach
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/* A repository, from the registry of `global` if there is one. The first part of a name is a registry if it can be a host. */}}
{{- define "stagecoach.repository" -}}
{{- $parts := splitList "/" .repository }}
{{- if and .registry (gt (len $parts) 1) (regexMatch "[.:]|^localhost$" (first $parts)) }}
{{- printf "%s/%s" .registry (rest $parts | join "/") }}
{{- else if .registry }}
{{- printf "%s/%s" .registry .repository }}
{{- else }}
{{- .repository }}
{{- end }}
{{- end }}

{{/*
An image by digest, or by tag where that is allowed. Takes a dict: name (of the value), image, values; released, where the
tag of a version is allowed; default, which of digest and tag the chart gives itself: it gives way to the other.
*/}}
{{- define "stagecoach.image" -}}
{{- $image := .image | default dict }}
{{- if and .default $image.digest $image.tag }}
{{- $image = omit $image .default }}
{{- end }}
{{- $allowTags := or .values.allowTags (and .released (regexMatch "^v[0-9]+[.][0-9]+[.][0-9]+$" ($image.tag | default ""))) }}
{{- if not $image.repository }}
{{- fail (printf "%s.repository is required: an image without tag or digest, such as registry.example.com/stagecoach/operator" .name) }}
{{- end }}
{{- $repository := include "stagecoach.repository" (dict "repository" $image.repository "registry" .values.global.imageRegistry) }}
{{- if and $image.digest $image.tag }}
{{- fail (printf "give only one of %s.digest and %s.tag" .name .name) }}
{{- else if $image.digest }}
{{- printf "%s@%s" $repository $image.digest }}
{{- else if and $image.tag $allowTags }}
{{- printf "%s:%s" $repository $image.tag }}
{{- else if $image.tag }}
{{- fail (printf "%s.tag can be moved to another image: give %s.digest instead, or set allowTags=true to try things out" .name .name) }}
{{- else }}
{{- fail (printf "%s.digest is required: sha256: and 64 hexadecimal digits, as the registry or `docker buildx imagetools inspect` shows it" .name) }}
{{- end }}
{{- end }}

{{/* What the operator does with objects. Each rule has its reason in docs/install.md. */}}
{{- define "stagecoach.rules" -}}
- apiGroups: [stagecoach.dev]
  resources: [approvals, evalgates, evaluations, finetuneruns, modeldeployments, transformerprojects]
  verbs: [list, watch]
- apiGroups: [stagecoach.dev]
  resources: [evaluations]
  verbs: [create]
# By dry runs alone, which the policy for Approvals has to refuse: nothing passes by people's decisions where it does not.
- apiGroups: [stagecoach.dev]
  resources: [approvals]
  verbs: [create]
- apiGroups: [stagecoach.dev]
  resources: [approvals/status, evalgates/status, evaluations/status, finetuneruns/status, modeldeployments/status, transformerprojects/status]
  verbs: [patch]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [create, delete, get, list, watch]
- apiGroups: [""]
  resources: [services]
  verbs: [create, delete, get, list, patch, watch]
# Engines and gateways.
- apiGroups: [apps]
  resources: [deployments]
  verbs: [create, delete, list, patch, watch]
# What was admitted, the routes of gateways, and the contract with their clients.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [create, delete, get, list, patch, watch]
# Keys of a deployment, which never change: whoever may patch a Secret is shown what is in it.
- apiGroups: [""]
  resources: [secrets]
  verbs: [create]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [create, patch]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [create, patch]
# By name: whether the claims of a training on several nodes have an access mode that lets all of them in.
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [pods/log]
  verbs: [get]
- apiGroups: [""]
  resources: [events]
  verbs: [create, list]
{{- end }}

{{- define "stagecoach.subjects" -}}
- kind: ServiceAccount
  name: {{ include "stagecoach.serviceAccountName" . }}
  namespace: {{ .Release.Namespace }}
{{- end }}
