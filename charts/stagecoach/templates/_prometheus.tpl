{{/* Whether there is a Prometheus of this release's own: an image of it is given. Values of an earlier chart know nothing of it. */}}
{{- define "stagecoach.prometheus.wanted" -}}
{{- with (default dict .Values.prometheus).image }}
{{- if or .repository .digest .tag }}yes{{ end }}
{{- end }}
{{- end }}

{{- define "stagecoach.prometheus.name" -}}
{{ include "stagecoach.fullname" . }}-prometheus
{{- end }}

{{/* By what its pod is found. */}}
{{- define "stagecoach.prometheus.selectorLabels" -}}
app.kubernetes.io/name: {{ include "stagecoach.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: prometheus
{{- end }}

{{- define "stagecoach.prometheus.labels" -}}
{{- merge (include "stagecoach.prometheus.selectorLabels" . | fromYaml) (include "stagecoach.labels" . | fromYaml) | toYaml }}
{{- end }}

{{/* What scrapes what: job and labels are those of the monitors, so that rules and dashboards hold for both. */}}
{{- define "stagecoach.prometheus.config" -}}
global:
  scrape_interval: 15s
  evaluation_interval: 15s
rule_files: [/etc/stagecoach/rules.yml]
{{- with .Values.prometheus.alertmanagers }}
alerting:
  alertmanagers:
    - static_configs:
        - targets: {{ toJson . }}
{{- end }}
scrape_configs:
  - job_name: stagecoach-serving
    kubernetes_sd_configs:
      - role: pod
        selectors:
          - role: pod
            label: app.kubernetes.io/managed-by=stagecoach,stagecoach.dev/component in (gateway,engine)
        {{- with .Values.watchNamespaces }}
        namespaces:
          names: {{ toJson . }}
        {{- end }}
    relabel_configs:
      # Of each pod one port: clients and loaders have others.
      - source_labels: [__meta_kubernetes_pod_label_stagecoach_dev_component, __meta_kubernetes_pod_container_port_number]
        regex: gateway;9090|engine;8000
        action: keep
      - source_labels: [__meta_kubernetes_pod_phase]
        regex: Succeeded|Failed
        action: drop
      - source_labels: [__meta_kubernetes_namespace]
        target_label: namespace
      - source_labels: [__meta_kubernetes_pod_label_stagecoach_dev_name]
        target_label: deployment
      - source_labels: [__meta_kubernetes_pod_label_stagecoach_dev_component]
        target_label: component
      # vLLM has a label `engine` of its own.
      - source_labels: [__meta_kubernetes_pod_label_stagecoach_dev_engine]
        target_label: engine_name
      - source_labels: [__meta_kubernetes_pod_name]
        target_label: pod
    metric_relabel_configs:
      {{- include "stagecoach.prometheus.kept" . | fromYamlArray | toYaml | nindent 6 }}
  - job_name: stagecoach-operator
    kubernetes_sd_configs:
      - role: pod
        namespaces:
          names: [{{ .Release.Namespace }}]
        selectors:
          - role: pod
            label: {{ include "stagecoach.selectorLabels" . | fromYaml | toJson | trimAll "{}" | replace "\"" "" | replace ":" "=" }}
    relabel_configs:
      - source_labels: [__meta_kubernetes_pod_container_port_name]
        regex: metrics
        action: keep
      - source_labels: [__meta_kubernetes_namespace]
        target_label: namespace
      - source_labels: [__meta_kubernetes_pod_name]
        target_label: pod
    metric_relabel_configs:
      - source_labels: [__name__]
        regex: .+_created
        action: drop
{{- end }}

{{/* What is kept of what is scraped: vLLM has a thousand series, many by adapters or by steps, and few are looked at. */}}
{{- define "stagecoach.prometheus.kept" -}}
- source_labels: [component, __name__]
  regex: gateway;.+|engine;vllm:(num_requests_(running|waiting)|kv_cache_usage_perc|(num_preemptions|prompt_tokens|generation_tokens|prefix_cache_(queries|hits)|request_success)_total|(inter_token_latency|request_queue_time)_seconds_(bucket|count|sum))
  action: keep
{{- end }}
