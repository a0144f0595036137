package kafka

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/partlog/partlog/group"
)

// rootLogger is the only logger that there is to describe: a Server tells its host by Events what happens, and has no log.
// Its level is kept, as Kafka keeps it, until the server ends.
const rootLogger = "root"

var loggerLevels = []string{"DEBUG", "ERROR", "FATAL", "INFO", "TRACE", "WARN"}

func (s *Server) rootLevel(broker int32) string {
	if v, ok := s.admin.rootLevel.Load(broker); ok {
		return v.(string)
	}
	return "INFO"
}

func (s *session) alterLogger(name string, changes []configChange, validateOnly bool) error {
	id, err := strconv.ParseInt(name, 10, 32)
	if err != nil {
		return refusal(codeInvalidRequest, "Node id must be an integer, but it is: "+name)
	}
	if int32(id) != s.broker.id {
		return refusal(codeInvalidRequest, fmt.Sprintf("Unexpected node id. Expected %d, but received %d", s.broker.id, id))
	}
	for _, a := range changes {
		switch {
		case a.op == alterAppend || a.op == alterSubtract:
			return refusal(codeInvalidRequest, map[int8]string{alterAppend: "APPEND", alterSubtract: "SUBTRACT"}[a.op]+" operation is not allowed for the BROKER_LOGGER resource")
		case a.op != alterSet && a.op != alterDelete:
			return refusal(codeInvalidRequest, fmt.Sprintf("Unknown operation type %d is not allowed for the BROKER_LOGGER resource", a.op))
		case a.name != rootLogger:
			return refusal(codeInvalidConfig, "Logger "+a.name+" does not exist!")
		case a.op == alterDelete:
			return refusal(codeInvalidRequest, "Removing the log level of the root logger is not allowed")
		case !slices.Contains(loggerLevels, *a.value):
			return refusal(codeInvalidConfig, "Cannot set the log level of "+a.name+" to "+*a.value+" as it is not a supported log level. Valid log levels are "+strings.Join(loggerLevels, ", "))
		}
	}
	if !validateOnly {
		for _, a := range changes {
			s.server.admin.rootLevel.Store(s.broker.id, *a.value)
		}
	}
	return nil
}

// broker changes the configuration of a broker, or with an empty name the default of all.
func (a *resourceAlteration) broker() error {
	srv := a.s.server
	if a.name != "" {
		id, err := strconv.ParseInt(a.name, 10, 32)
		if err != nil {
			return refusal(codeInvalidRequest, "Node id must be an integer, but it is: "+a.name)
		}
		if int32(id) != a.s.broker.id {
			return refusal(codeInvalidRequest, fmt.Sprintf("Unexpected broker id, expected %d, but received %d", a.s.broker.id, id))
		}
	}
	now := srv.dynamic(kindBroker, a.name)
	for _, c := range a.changes {
		if p := describedProperty(c.name); (c.op == alterAppend || c.op == alterSubtract) && (p == nil || p.typ != typeList) {
			return refusal(codeInvalidConfig, "Config value append is not allowed for config key: "+c.name)
		}
	}
	next, err := a.next(now, describedProperty, func(key string) string {
		if e := a.s.broker.layers().entry(key); e.value != nil {
			return *e.value
		}
		return ""
	})
	if err != nil {
		return err
	}
	if err := checkDynamic(next, a.name != ""); err != nil {
		return err
	}
	if err := a.checkThreads(next); err != nil {
		return err
	}
	if srv.featureLevel("eligible.leader.replicas.version") >= 1 {
		named := slices.ContainsFunc(a.changes, func(c configChange) bool { return c.name == "min.insync.replicas" })
		if a.replace && a.name == "" && !named {
			return refusal(codeInvalidConfig, "Cluster-level min.insync.replicas cannot be removed while ELR is enabled.")
		}
		for _, c := range a.changes {
			switch {
			case c.name != "min.insync.replicas":
			case a.name != "":
				return refusal(codeInvalidConfig, "Broker-level min.insync.replicas cannot be altered while ELR is enabled.")
			case c.op == alterDelete:
				return refusal(codeInvalidConfig, "Cluster-level min.insync.replicas cannot be removed while ELR is enabled.")
			}
		}
	}
	all := maps.Clone(srv.config.Properties)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, a.s.broker.properties)
	maps.Copy(all, next)
	if _, _, err := parseProperties(all); err != nil {
		return refusal(codeInvalidRequest, err.Error())
	}
	if a.validateOnly {
		return nil
	}
	if err := a.put(now, next); err != nil {
		return err
	}
	return srv.refresh(a.ctx)
}

// threadCounts are properties whose value may at most be doubled or halved at a time (KIP-226).
var threadCounts = []string{
	"background.threads", "log.cleaner.threads", "num.io.threads", "num.network.threads", "num.recovery.threads.per.data.dir", "num.replica.fetchers",
}

// checkThreads applies Kafka's rule for changed numbers of threads. next is what the resource will set.
func (a *resourceAlteration) checkThreads(next map[string]string) error {
	layers := a.s.broker.layers()
	now := *layers
	if a.name != "" {
		layers.dynamic = next
	} else {
		layers.cluster = next
	}
	for _, key := range threadCounts {
		was, will := now.entry(key).value, layers.entry(key).value
		if was == nil || will == nil {
			continue
		}
		from, err1 := strconv.Atoi(*was)
		to, err2 := strconv.Atoi(*will)
		if err1 != nil || err2 != nil || from == to {
			continue
		}
		text := fmt.Sprintf("Dynamic thread count update validation failed for %s=%d, value should ", key, to)
		switch {
		case to < 1:
			return refusal(codeInvalidRequest, text+"be at least 1")
		case to < from/2:
			return refusal(codeInvalidRequest, text+fmt.Sprintf("be at least half the current value %d", from))
		case to > from*2:
			return refusal(codeInvalidRequest, text+fmt.Sprintf("not be greater than double the current value %d", from))
		}
	}
	return nil
}

// checkDynamic applies Kafka's rules for dynamic configurations of brokers (KIP-226).
func checkDynamic(next map[string]string, one bool) error {
	var fixed, unprefixed, single []string
	names := slices.Sorted(maps.Keys(next))
	for _, name := range names {
		p := brokerProperty(name)
		if p == nil {
			continue // of a plug-in, for all that anybody knows
		}
		security := strings.HasPrefix(p.name, "ssl.") || strings.HasPrefix(p.name, "sasl.")
		switch {
		case p.mode == readOnly:
			fixed = append(fixed, name)
		case security && p.mode == perBroker && p.name == name:
			unprefixed = append(unprefixed, name)
		case p.mode == perBroker && !one:
			single = append(single, name)
		}
	}
	switch {
	case len(fixed) > 0:
		return refusal(codeInvalidRequest, "Cannot update these configs dynamically: "+scalaSet("Set", fixed))
	case len(unprefixed) > 0:
		return refusal(codeInvalidRequest, "These security configs can be dynamically updated only per-listener using the listener prefix: "+scalaSet("HashSet", unprefixed))
	case len(single) > 0:
		return refusal(codeInvalidRequest, "Cannot update these configs at default cluster level, broker id must be specified: "+scalaSet("Set", single))
	}
	for _, name := range names {
		if p := describedProperty(name); p != nil {
			if err := p.check(next[name]); err != nil {
				return refusal(codeInvalidRequest, err.Error())
			}
		}
	}
	return nil
}

func scalaSet(kind string, items []string) string {
	return kind + "(" + strings.Join(items, ", ") + ")"
}

// checkGroup applies the broker's bounds to the configuration of a group (KIP-848).
func (s *settings) checkGroup(configs map[string]string) error {
	for _, b := range []struct {
		key       string
		low, high string
	}{
		{"consumer.heartbeat.interval.ms", "group.consumer.min.heartbeat.interval.ms", "group.consumer.max.heartbeat.interval.ms"},
		{"consumer.session.timeout.ms", "group.consumer.min.session.timeout.ms", "group.consumer.max.session.timeout.ms"},
		{"share.heartbeat.interval.ms", "group.share.min.heartbeat.interval.ms", "group.share.max.heartbeat.interval.ms"},
		{"share.session.timeout.ms", "group.share.min.session.timeout.ms", "group.share.max.session.timeout.ms"},
		{"share.record.lock.duration.ms", "group.share.min.record.lock.duration.ms", "group.share.max.record.lock.duration.ms"},
		{"streams.heartbeat.interval.ms", "group.streams.min.heartbeat.interval.ms", "group.streams.max.heartbeat.interval.ms"},
		{"streams.session.timeout.ms", "group.streams.min.session.timeout.ms", "group.streams.max.session.timeout.ms"},
	} {
		v, ok := configs[b.key]
		if !ok {
			continue
		}
		n, _ := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
		r := propertyReader(s.properties)
		if n < r.number(b.low) {
			return refusal(codeInvalidConfig, b.key+" must be greater than or equal to "+b.low)
		}
		if n > r.number(b.high) {
			return refusal(codeInvalidConfig, b.key+" must be less than or equal to "+b.high)
		}
	}
	session, beat := s.groupMillis(configs, "consumer.session.timeout.ms"), s.groupMillis(configs, "consumer.heartbeat.interval.ms")
	if session <= beat {
		return refusal(codeInvalidConfig, "consumer.session.timeout.ms must be greater than consumer.heartbeat.interval.ms")
	}
	return nil
}

func (s *settings) groupMillis(configs map[string]string, key string) int64 {
	v, ok := configs[key]
	if !ok {
		v = s.groupDefault(groupProperties().byName[key])
	}
	n, _ := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
	return n
}

// configureGroup tells the coordinator what a group sets.
func (s *Server) configureGroup(name string, configs map[string]string) error {
	millis := func(key string) time.Duration {
		n, _ := strconv.ParseInt(strings.TrimSpace(configs[key]), 10, 64)
		return time.Duration(n) * time.Millisecond
	}
	return s.groups.Configure(name, group.ConsumerGroupOverrides{
		SessionTimeout: millis("consumer.session.timeout.ms"), HeartbeatInterval: millis("consumer.heartbeat.interval.ms"),
	})
}

// metricMatches are what a subscription may go by (KIP-714).
var metricMatches = []string{"client_instance_id", "client_id", "client_software_name", "client_software_version", "client_source_address", "client_source_port"}

// clientMetrics changes a subscription to metrics of clients.
func (a *resourceAlteration) clientMetrics() error {
	srv, all := a.s.server, clientMetricsProperties().byName
	now := srv.dynamic(kindClientMetrics, a.name)
	next, err := a.next(now, func(string) *property { return nil }, nil) // no list of these can be appended to
	if err != nil {
		return err
	}
	if a.name == "" {
		return refusal(codeInvalidRequest, "Subscription name can't be empty")
	}
	for _, key := range slices.Sorted(maps.Keys(next)) {
		if all[key] == nil {
			return refusal(codeInvalidRequest, "Unknown client metrics configuration: "+key)
		}
		if err := all[key].check(next[key]); err != nil {
			return refusal(codeInvalidConfig, err.Error())
		}
	}
	if v, ok := next["interval.ms"]; ok {
		if n, _ := strconv.ParseInt(strings.TrimSpace(v), 10, 64); n < 100 || n > 3_600_000 {
			return refusal(codeInvalidRequest, "Invalid value "+v+" for interval.ms, interval must be between 100 and 3600000 (1 hour)")
		}
	}
	for _, pattern := range splitList(next["match"]) {
		key, expr, ok := strings.Cut(pattern, "=")
		_, bad := regexp.Compile(strings.TrimSpace(expr))
		if !ok || bad != nil || strings.TrimSpace(expr) == "" || !slices.Contains(metricMatches, strings.TrimSpace(key)) {
			return refusal(codeInvalidConfig, "Illegal client matching pattern: "+pattern)
		}
	}
	if a.validateOnly {
		return nil
	}
	return a.put(now, next)
}
