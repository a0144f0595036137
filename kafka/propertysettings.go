package kafka

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/partlog/partlog/group"
)

// settings are the properties of one broker as the handlers want them. They are never changed, only replaced: a dynamic
// change of a broker's configuration publishes new ones (KIP-226). The comments name the property.
type settings struct {
	properties map[string]string // what is set, by name, trimmed; no defaults
	warnings   []Warning

	nodeID int32  // node.id, or broker.id; -1: not set
	rack   string // broker.rack

	// Topics.
	autoCreateTopics  bool              // auto.create.topics.enable
	deleteTopics      bool              // delete.topic.enable
	numPartitions     int32             // num.partitions
	replicationFactor int16             // default.replication.factor
	topicDefaults     map[string]string // configurations of topics that the broker's properties set, by the topic's key

	// Sockets and requests.
	requestMaxBytes             int32          // socket.request.max.bytes
	saslMaxReceiveBytes         int32          // sasl.server.max.receive.size
	queuedMaxRequestBytes       int64          // queued.max.request.bytes; -1: no bound of its own
	maxConnections              int            // max.connections
	maxConnectionsPerIP         int            // max.connections.per.ip
	maxConnectionsPerIPOverride map[string]int // max.connections.per.ip.overrides
	maxConnectionCreationRate   int            // max.connection.creation.rate, a second
	connectionsMaxIdle          time.Duration  // connections.max.idle.ms; negative: for ever
	connectionsMaxReauth        time.Duration  // connections.max.reauth.ms; 0: never
	failedAuthenticationDelay   time.Duration  // connection.failed.authentication.delay.ms

	// Fetch.
	fetchMaxBytes         int32 // fetch.max.bytes
	fetchSessionSlots     int   // max.incremental.fetch.session.cache.slots
	maxRequestPartitions  int32 // max.request.partition.size.limit
	offsetsPartitions     int32 // offsets.topic.num.partitions
	offsetsReplication    int16 // offsets.topic.replication.factor
	offsetsSegmentBytes   int64 // offsets.topic.segment.bytes
	offsetMetadataMax     int   // offset.metadata.max.bytes
	txnPartitions         int32 // transaction.state.log.num.partitions
	txnReplication        int16 // transaction.state.log.replication.factor
	txnMaxTimeout         time.Duration
	transactionalIDExpiry time.Duration // transactional.id.expiration.ms

	// Groups.
	groupMinSession       time.Duration // group.min.session.timeout.ms
	groupMaxSession       time.Duration // group.max.session.timeout.ms
	groupInitialDelay     time.Duration // group.initial.rebalance.delay.ms
	groupMaxSize          int           // group.max.size
	groupProtocols        []string      // group.coordinator.rebalance.protocols
	consumerGroupMigrates group.MigrationPolicy

	// Security.
	authorizer           string   // authorizer.class.name; empty: none
	superUsers           []string // super.users, as "User:name"
	allowEveryoneIfNoACL bool     // allow.everyone.if.no.acl.found
	sslPrincipalRules    string   // ssl.principal.mapping.rules

	// Quotas: how many samples of which length.
	quotaSamples           int           // quota.window.num
	quotaWindow            time.Duration // quota.window.size.seconds
	controllerQuotaSamples int           // controller.quota.window.num
	controllerQuotaWindow  time.Duration // controller.quota.window.size.seconds

	telemetryMaxBytes int32 // telemetry.max.bytes
}

// Warning is something about a property that its owner should know and that keeps nothing from working.
type Warning struct {
	Property string
	Text     string
	Unknown  bool // Apache Kafka 4.1 has no property of that name
}

// parseProperties reads properties by their Kafka names. A name that Kafka does not know is a Warning, as in Kafka; a value
// that it refuses is a *PropertyError, and so is a property whose promise this broker cannot keep. The last answer is kept:
// of the doubles of a test suite one is as the other.
func parseProperties(props map[string]string) (*settings, []Warning, error) {
	if len(props) == 0 {
		s := *defaultSettings()
		return &s, nil, nil
	}
	if last := lastParsed.Load(); last != nil && maps.Equal(last.props, props) {
		s := *last.settings
		return &s, slices.Clone(last.settings.warnings), nil
	}
	s, err := readProperties(props)
	if err != nil {
		return nil, nil, err
	}
	kept := *s
	lastParsed.Store(&parsed{maps.Clone(props), &kept})
	return s, slices.Clone(s.warnings), nil
}

// parsed is what properties say. It is never changed.
type parsed struct {
	props    map[string]string
	settings *settings
}

var lastParsed atomic.Pointer[parsed]

func readProperties(props map[string]string) (*settings, error) {
	set := make(map[string]string, len(props))
	var warnings []Warning
	for _, name := range slices.Sorted(maps.Keys(props)) {
		p := brokerProperty(name)
		if p == nil {
			if !knownUnlisted(name) {
				warnings = append(warnings, Warning{name, "is not a property of Apache Kafka 4.1, and is ignored", true})
			}
			set[name] = strings.TrimSpace(props[name])
			continue
		}
		if err := p.check(props[name]); err != nil {
			return nil, err
		}
		set[name] = strings.TrimSpace(props[name])
	}
	more, err := checkPromises(set)
	if err != nil {
		return nil, err
	}
	s := settingsOf(set)
	s.warnings = append(warnings, more...)
	return s, nil
}

// defaultSettings are those of a broker that sets nothing.
var defaultSettings = onceSettings()

func onceSettings() func() *settings {
	var s *settings
	init := make(chan struct{}, 1)
	init <- struct{}{}
	return func() *settings {
		<-init
		if s == nil {
			s = settingsOf(map[string]string{})
		}
		init <- struct{}{}
		return s
	}
}

func settingsOf(set map[string]string) *settings {
	r := propertyReader(set)
	s := &settings{
		properties: set,

		nodeID: -1,
		rack:   r.text("broker.rack"),

		autoCreateTopics:  r.is("auto.create.topics.enable"),
		deleteTopics:      r.is("delete.topic.enable"),
		numPartitions:     int32(r.number("num.partitions")),
		replicationFactor: int16(r.number("default.replication.factor")),
		topicDefaults:     topicDefaultsOf(set),

		requestMaxBytes:             int32(r.number("socket.request.max.bytes")),
		saslMaxReceiveBytes:         int32(r.number("sasl.server.max.receive.size")),
		queuedMaxRequestBytes:       r.number("queued.max.request.bytes"),
		maxConnections:              int(r.number("max.connections")),
		maxConnectionsPerIP:         int(r.number("max.connections.per.ip")),
		maxConnectionsPerIPOverride: map[string]int{},
		maxConnectionCreationRate:   int(r.number("max.connection.creation.rate")),
		connectionsMaxIdle:          r.millis("connections.max.idle.ms"),
		connectionsMaxReauth:        r.millis("connections.max.reauth.ms"),
		failedAuthenticationDelay:   r.millis("connection.failed.authentication.delay.ms"),

		fetchMaxBytes:         int32(r.number("fetch.max.bytes")),
		fetchSessionSlots:     int(r.number("max.incremental.fetch.session.cache.slots")),
		maxRequestPartitions:  int32(r.number("max.request.partition.size.limit")),
		offsetsPartitions:     int32(r.number("offsets.topic.num.partitions")),
		offsetsReplication:    int16(r.number("offsets.topic.replication.factor")),
		offsetsSegmentBytes:   r.number("offsets.topic.segment.bytes"),
		offsetMetadataMax:     int(r.number("offset.metadata.max.bytes")),
		txnPartitions:         int32(r.number("transaction.state.log.num.partitions")),
		txnReplication:        int16(r.number("transaction.state.log.replication.factor")),
		txnMaxTimeout:         r.millis("transaction.max.timeout.ms"),
		transactionalIDExpiry: r.millis("transactional.id.expiration.ms"),

		groupMinSession:       r.millis("group.min.session.timeout.ms"),
		groupMaxSession:       r.millis("group.max.session.timeout.ms"),
		groupInitialDelay:     r.millis("group.initial.rebalance.delay.ms"),
		groupMaxSize:          int(r.number("group.max.size")),
		groupProtocols:        splitList(r.text("group.coordinator.rebalance.protocols")),
		consumerGroupMigrates: migrationOf(r.text("group.consumer.migration.policy")),

		authorizer:           r.text("authorizer.class.name"),
		allowEveryoneIfNoACL: strings.EqualFold(set["allow.everyone.if.no.acl.found"], "true"),
		sslPrincipalRules:    r.text("ssl.principal.mapping.rules"),

		quotaSamples:           int(r.number("quota.window.num")),
		quotaWindow:            durationOf(r.number("quota.window.size.seconds"), time.Second),
		controllerQuotaSamples: int(r.number("controller.quota.window.num")),
		controllerQuotaWindow:  durationOf(r.number("controller.quota.window.size.seconds"), time.Second),

		telemetryMaxBytes: int32(r.number("telemetry.max.bytes")),
	}
	for _, name := range []string{"broker.id", "node.id"} {
		if _, ok := set[name]; ok {
			s.nodeID = int32(r.number(name))
		}
	}
	for item := range strings.SplitSeq(set["super.users"], ";") {
		if item = strings.TrimSpace(item); item != "" {
			s.superUsers = append(s.superUsers, item)
		}
	}
	for _, item := range splitList(r.text("max.connections.per.ip.overrides")) {
		if i := strings.LastIndexByte(item, ':'); i > 0 {
			s.maxConnectionsPerIPOverride[item[:i]], _ = strconv.Atoi(item[i+1:]) // validated
		}
	}
	return s
}
