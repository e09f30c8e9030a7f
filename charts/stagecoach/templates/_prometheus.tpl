{{/* Whether there is a Prometheus of this release's own. Values of an earlier chart, which an upgrade may reuse, say it by its image. */}}
{{- define "stagecoach.prometheus.wanted" -}}
{{- with .Values.prometheus }}
{{- if or .enabled (and (not (hasKey . "enabled")) (default dict .image).repository) }}yes{{ end }}
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
{{- $metrics := printf "%s-metrics.%s.svc" (include "stagecoach.fullname" .) .Release.Namespace }}
{{- if not .Values.metrics.service.enabled }}
{{- fail "metrics.service.enabled=false leaves Prometheus no way to what it scrapes: set it to true, or prometheus.enabled to false" }}
{{- end }}
scrape_configs:
  - job_name: stagecoach-serving
    # The operator knows all pods that serve. While it is away, what it said last holds.
    http_sd_configs:
      - url: http://{{ $metrics }}:{{ .Values.metrics.port }}/targets
        refresh_interval: 15s
    metric_relabel_configs:
      {{- include "stagecoach.prometheus.kept" . | nindent 6 }}
  - job_name: stagecoach-operator
    dns_sd_configs:
      {{- range list "A" "AAAA" }}
      - names: [{{ $metrics }}]
        type: {{ . }}
        port: {{ $.Values.metrics.port }}
        refresh_interval: 15s
      {{- end }}
    relabel_configs:
      - target_label: namespace
        replacement: {{ .Release.Namespace }}
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
