package kafka

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// knownUnlisted reports whether a name is one that Apache Kafka's broker reads without defining it: properties of its
// authorizer, of its listeners' mechanisms, and prefixes that pass properties on.
func knownUnlisted(name string) bool {
	switch name {
	case "super.users", "allow.everyone.if.no.acl.found":
		return true
	}
	return strings.HasPrefix(name, "rsm.config.") || strings.HasPrefix(name, "rlmm.config.")
}

// broken are properties whose promise cannot be kept, and why. A value that is Kafka's default promises nothing.
var broken = map[string]string{
	"remote.log.storage.system.enable":      "records are kept on this broker's disk alone; there is no tiered storage",
	"create.topic.policy.class.name":        "it names a Java class, and there is no JVM here; say what topics may be with default.* and log.* properties, or ACLs",
	"alter.config.policy.class.name":        "it names a Java class, and there is no JVM here",
	"principal.builder.class":               "it names a Java class, and there is no JVM here; use ssl.principal.mapping.rules",
	"client.quota.callback.class":           "it names a Java class, and there is no JVM here; quotas are those of the quota calls",
	"replica.selector.class":                "it names a Java class other than those that Kafka comes with, and there is no JVM here",
	"ssl.engine.factory.class":              "it names a Java class, and there is no JVM here; use ssl.keystore.* and ssl.truststore.* of type PEM",
	"security.providers":                    "it names Java classes, and there is no JVM here",
	"sasl.server.callback.handler.class":    "it names a Java class, and there is no JVM here; use sasl.jaas.config, or SCRAM credentials",
	"sasl.login.callback.handler.class":     "it names a Java class, and there is no JVM here",
	"sasl.client.callback.handler.class":    "it names a Java class, and there is no JVM here",
	"sasl.login.class":                      "it names a Java class, and there is no JVM here",
	"delegation.token.secret.key":           "there are no delegation tokens; use SCRAM credentials",
	"transaction.two.phase.commit.enable":   "a transaction cannot be prepared for a coordinator of somebody else (KIP-939)",
	"kafka.metrics.reporters":               "it names Java classes, and there is no JVM here",
	"group.share.persister.class.name":      "there are no share groups",
	"unstable.api.versions.enable":          "no version is served that Apache Kafka calls unstable",
	"unstable.feature.versions.enable":      "no version of a feature is known that Apache Kafka calls unstable",
	"remote.log.storage.manager.class.name": "records are kept on this broker's disk alone; there is no tiered storage",
}

// notNeeded are properties that a node of a cluster needs and a broker over a store alone does not.
var notNeeded = []string{
	"controller.listener.names", "controller.quorum.voters", "controller.quorum.bootstrap.servers",
}

// standardAuthorizer is the class whose rules the ACLs here follow.
const standardAuthorizer = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"

// checkPromises returns a *PropertyError for the first property, by name, that promises what this broker cannot do, and
// the warnings about others. set is valid value by value.
func checkPromises(set map[string]string) ([]Warning, error) {
	var warnings []Warning
	warn := func(name, text string) { warnings = append(warnings, Warning{Property: name, Text: text}) }
	r, quorum := propertyReader(set), namesQuorum(set)
	for _, name := range slices.Sorted(maps.Keys(set)) {
		v := set[name]
		bad := func(why string) error { return &PropertyError{Name: name, Value: v, Reason: why} }
		p := brokerProperty(name)
		if p == nil {
			continue
		}
		if p.sensitive() {
			bad = func(why string) error { return &PropertyError{Name: name, Value: "[hidden]", Reason: why} }
		}
		isDefault := v == "" || p.value != nil && strings.EqualFold(v, *p.value) ||
			name == "replica.selector.class" && (v == rackAware || v == "org.apache.kafka.common.replica.LeaderSelector")
		if why := broken[p.name]; why != "" && !isDefault {
			return nil, bad(why)
		}
		if slices.Contains(notNeeded, p.name) && !quorum {
			warn(name, "is not needed: there is no quorum of controllers behind this broker")
		}
		switch p.name {
		case "log.dirs", "log.dir":
			if len(splitList(v)) > 1 {
				return nil, bad("a store has one directory; put several disks into one volume")
			}
		case "process.roles":
			if v != "" && !slices.Contains(splitList(v), "broker") && !quorum {
				return nil, bad("a node without the role broker serves no client")
			}
		case "controller.quorum.voters":
			if len(splitList(v)) > 1 && !quorum {
				return nil, bad("it names a quorum of several nodes, and process.roles does not say that this is one of them")
			}
		case "authorizer.class.name":
			if v != "" && v != standardAuthorizer {
				return nil, bad("the only authorizer is " + standardAuthorizer)
			}
		case "sasl.enabled.mechanisms":
			for _, m := range splitList(v) {
				if !slices.Contains([]string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"}, m) {
					return nil, bad(m + " is not served; PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512 are")
				}
			}
		case "ssl.keystore.type", "ssl.truststore.type":
			if v != "" && !strings.EqualFold(v, "PEM") && hasStore(set, name) {
				return nil, bad("only PEM is read; openssl pkcs12 -in STORE -nodes makes it")
			}
		case "group.coordinator.rebalance.protocols":
			for _, w := range splitList(v) {
				if w == "share" {
					return nil, bad("there are no share groups")
				}
			}
			if !slices.Contains(splitList(v), "classic") {
				return nil, bad("disabling the 'classic' protocol is not supported")
			}
		case "group.consumer.assignors":
			for _, w := range splitList(v) {
				if !slices.Contains([]string{"uniform", "range", "org.apache.kafka.coordinator.group.assignor.UniformAssignor", "org.apache.kafka.coordinator.group.assignor.RangeAssignor"}, w) {
					return nil, bad(w + " is a Java class, and there is no JVM here; uniform and range are served")
				}
			}
		case "max.connections.per.ip.overrides":
			for _, item := range splitList(v) {
				i := strings.LastIndexByte(item, ':')
				if i < 1 {
					return nil, bad("want HOST:COUNT,...")
				}
				if _, err := strconv.Atoi(item[i+1:]); err != nil {
					return nil, bad("want HOST:COUNT,...")
				}
			}
		case "metric.reporters":
			if v != "" && v != "org.apache.kafka.common.metrics.JmxReporter" {
				return nil, bad("it names Java classes, and there is no JVM here")
			}
		case "unclean.leader.election.enable":
			switch {
			case strings.EqualFold(v, "true") && quorum:
				return nil, bad("a leader that may lack acknowledged records is allowed topic by topic: set unclean.leader.election.enable of the topics that may lose some")
			case strings.EqualFold(v, "true"):
				warn(name, "changes nothing: there is one copy of the records, so no leader is unclean")
			}
		case "default.replication.factor", "offsets.topic.replication.factor", "transaction.state.log.replication.factor":
			if r.number(name) > 1 && !quorum {
				warn(name, "spreads leaders over the brokers of the store; there is one copy of the records, on one disk")
			}
		case "broker.session.timeout.ms", "broker.heartbeat.interval.ms":
			if heartbeat := r.number("broker.heartbeat.interval.ms"); quorum && set["broker.heartbeat.interval.ms"] != "" && heartbeat > r.number("broker.session.timeout.ms")/2 {
				return nil, bad("broker.heartbeat.interval.ms must be at most half of broker.session.timeout.ms")
			}
		case "log.flush.interval.messages":
			if n := r.number(name); n > 1 && n < 1<<63-1 {
				warn(name, "syncs each append, which keeps the promise")
			}
		}
	}
	return warnings, crossCheck(r)
}

// hasStore reports whether the listener of a ...store.type property, or all of them, has a store that would be of it.
func hasStore(set map[string]string, name string) bool {
	base := strings.TrimSuffix(name, "type")
	for _, key := range []string{"location", "key", "certificate.chain", "certificates"} {
		if set[base+key] != "" {
			return true
		}
	}
	return false
}

// crossCheck are Kafka's rules between properties.
func crossCheck(r propertyReader) error {
	for _, rule := range []struct{ low, high string }{
		{"group.min.session.timeout.ms", "group.max.session.timeout.ms"},
		{"group.consumer.min.session.timeout.ms", "group.consumer.max.session.timeout.ms"},
		{"group.consumer.min.session.timeout.ms", "group.consumer.session.timeout.ms"},
		{"group.consumer.session.timeout.ms", "group.consumer.max.session.timeout.ms"},
		{"group.consumer.min.heartbeat.interval.ms", "group.consumer.max.heartbeat.interval.ms"},
		{"group.consumer.min.heartbeat.interval.ms", "group.consumer.heartbeat.interval.ms"},
		{"group.consumer.heartbeat.interval.ms", "group.consumer.max.heartbeat.interval.ms"},
		{"log.cleaner.min.compaction.lag.ms", "log.cleaner.max.compaction.lag.ms"},
	} {
		if r.number(rule.high) < r.number(rule.low) {
			return &PropertyError{Name: rule.high, Value: r.text(rule.high), Reason: "must be at least " + rule.low + "=" + r.text(rule.low)}
		}
	}
	return nil
}
