package kafka

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
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

// brokerProperty finds a broker's property, also one with the prefix of a listener (KIP-103): nil if there is none.
func brokerProperty(name string) *property {
	all := brokerProperties().byName
	if p := all[name]; p != nil {
		return p
	}
	rest, ok := strings.CutPrefix(name, "listener.name.")
	if !ok {
		return nil
	}
	_, rest, ok = strings.Cut(rest, ".")
	if !ok {
		return nil
	}
	if p := all[rest]; p != nil {
		return p
	}
	if _, rest, ok = strings.Cut(rest, "."); ok { // a mechanism
		return all[rest]
	}
	return nil
}

// propertyReader reads validated properties, with their defaults.
type propertyReader map[string]string

func (r propertyReader) text(name string) string {
	if v, ok := r[name]; ok {
		return v
	}
	if p := brokerProperties().byName[name]; p != nil && p.value != nil {
		return *p.value
	}
	return ""
}

func (r propertyReader) is(name string) bool { return strings.EqualFold(r.text(name), "true") }

func (r propertyReader) number(name string) int64 {
	n, _ := strconv.ParseInt(r.text(name), 10, 64) // validated; a null default gives 0
	return n
}

func (r propertyReader) millis(name string) time.Duration {
	return durationOf(r.number(name), time.Millisecond)
}

// durationOf multiplies without overflow.
func durationOf(n int64, unit time.Duration) time.Duration {
	if n > math.MaxInt64/int64(unit) {
		return math.MaxInt64
	}
	if n < math.MinInt64/int64(unit) {
		return math.MinInt64
	}
	return time.Duration(n) * unit
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

func migrationOf(name string) group.MigrationPolicy {
	for _, p := range []group.MigrationPolicy{group.MigrateUpgrade, group.MigrateDowngrade, group.MigrateNone} {
		if strings.EqualFold(p.String(), name) {
			return p
		}
	}
	return group.MigrateBoth
}

// topicSynonyms are, for each configuration of a topic, the broker's properties that are its default, the strongest first.
var topicSynonyms = map[string][]string{
	"cleanup.policy":                  {"log.cleanup.policy"},
	"compression.gzip.level":          {"compression.gzip.level"},
	"compression.lz4.level":           {"compression.lz4.level"},
	"compression.type":                {"compression.type"},
	"compression.zstd.level":          {"compression.zstd.level"},
	"delete.retention.ms":             {"log.cleaner.delete.retention.ms"},
	"file.delete.delay.ms":            {"log.segment.delete.delay.ms"},
	"flush.messages":                  {"log.flush.interval.messages"},
	"flush.ms":                        {"log.flush.interval.ms", "log.flush.scheduler.interval.ms"},
	"index.interval.bytes":            {"log.index.interval.bytes"},
	"local.retention.bytes":           {"log.local.retention.bytes"},
	"local.retention.ms":              {"log.local.retention.ms"},
	"max.compaction.lag.ms":           {"log.cleaner.max.compaction.lag.ms"},
	"max.message.bytes":               {"message.max.bytes"},
	"message.timestamp.after.max.ms":  {"log.message.timestamp.after.max.ms"},
	"message.timestamp.before.max.ms": {"log.message.timestamp.before.max.ms"},
	"message.timestamp.type":          {"log.message.timestamp.type"},
	"min.cleanable.dirty.ratio":       {"log.cleaner.min.cleanable.ratio"},
	"min.compaction.lag.ms":           {"log.cleaner.min.compaction.lag.ms"},
	"min.insync.replicas":             {"min.insync.replicas"},
	"preallocate":                     {"log.preallocate"},
	"retention.bytes":                 {"log.retention.bytes"},
	"retention.ms":                    {"log.retention.ms", "log.retention.minutes", "log.retention.hours"},
	"segment.bytes":                   {"log.segment.bytes"},
	"segment.index.bytes":             {"log.index.size.max.bytes"},
	"segment.jitter.ms":               {"log.roll.jitter.ms", "log.roll.jitter.hours"},
	"segment.ms":                      {"log.roll.ms", "log.roll.hours"},
	"unclean.leader.election.enable":  {"unclean.leader.election.enable"},
}

// topicDefaultsOf returns the defaults of topics that properties of the broker set, in the topic's units.
func topicDefaultsOf(set map[string]string) map[string]string {
	defaults := map[string]string{}
	for key, names := range topicSynonyms {
		for _, name := range names {
			if v, ok := set[name]; ok {
				defaults[key] = inTopicUnits(name, v)
				break
			}
		}
	}
	return defaults
}

// inTopicUnits converts hours and minutes to the milliseconds of a topic.
func inTopicUnits(name, v string) string {
	unit := int64(0)
	switch {
	case strings.HasSuffix(name, ".hours"):
		unit = int64(time.Hour / time.Millisecond)
	case strings.HasSuffix(name, ".minutes"):
		unit = int64(time.Minute / time.Millisecond)
	default:
		return v
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < 0 {
		return v // -1: for ever
	}
	return strconv.FormatInt(n*unit, 10)
}

// coordinator returns the configuration of the groups' coordinator, which the first Start of a store decides.
func (s *settings) coordinator() group.CoordinatorConfig {
	r := propertyReader(s.properties)
	c := group.CoordinatorConfig{
		InitialRebalanceDelay:         s.groupInitialDelay,
		MinSessionTimeout:             s.groupMinSession,
		MaxSessionTimeout:             s.groupMaxSession,
		MaxMetadataBytes:              s.offsetMetadataMax,
		OffsetsRetention:              durationOf(r.number("offsets.retention.minutes"), time.Minute),
		OffsetsRetentionCheckInterval: r.millis("offsets.retention.check.interval.ms"),
		ConsumerGroups: group.ConsumerGroupConfig{
			SessionTimeout:    r.millis("group.consumer.session.timeout.ms"),
			HeartbeatInterval: r.millis("group.consumer.heartbeat.interval.ms"),
			Migration:         s.consumerGroupMigrates,
		},
	}
	if s.groupMaxSize < math.MaxInt32 {
		c.MaxSize = s.groupMaxSize
	}
	if n := r.number("group.consumer.max.size"); n < math.MaxInt32 {
		c.ConsumerGroups.MaxSize = int(n)
	}
	if v := s.properties["group.consumer.regex.refresh.interval.ms"]; v != "" {
		c.ConsumerGroups.RegexRefreshInterval = r.millis("group.consumer.regex.refresh.interval.ms")
	}
	for _, name := range splitList(r.text("group.consumer.assignors")) {
		switch name {
		case "uniform", "org.apache.kafka.coordinator.group.assignor.UniformAssignor":
			c.ConsumerGroups.Assignors = append(c.ConsumerGroups.Assignors, group.Uniform)
		case "range", "org.apache.kafka.coordinator.group.assignor.RangeAssignor":
			c.ConsumerGroups.Assignors = append(c.ConsumerGroups.Assignors, group.ServerRange)
		}
	}
	return c
}

// store returns the configuration of a store that this broker is put in front of. Without a property about flushing its
// sync mode is sync.
func (s *settings) store(sync partition.SyncMode) partition.Config {
	r := propertyReader(s.properties)
	c := partition.Config{
		Sync:                       sync,
		RetentionCheckInterval:     r.millis("log.retention.check.interval.ms"),
		ProducerIDExpiration:       r.millis("producer.id.expiration.ms"),
		MaxTransactionTimeout:      s.txnMaxTimeout,
		TransactionTimeoutInterval: r.millis("transaction.abort.timed.out.transaction.cleanup.interval.ms"),
		TransactionalIDExpiration:  s.transactionalIDExpiry,
		CleanerThreads:             int(r.number("log.cleaner.threads")),
		CleanerBackoff:             r.millis("log.cleaner.backoff.ms"),
		CleanerMapBytes:            r.number("log.cleaner.dedupe.buffer.size"),
		Topics:                     partition.TopicConfig{Partitions: s.numPartitions, Extra: map[string]string{}},
	}
	if f, err := strconv.ParseFloat(r.text("log.cleaner.io.max.bytes.per.second"), 64); err == nil && f < math.MaxInt64 {
		c.CleanerBytesPerSecond = max(int64(f), 1)
	}
	if v := s.properties["num.recovery.threads.per.data.dir"]; v != "" {
		c.OpenConcurrency = int(r.number("num.recovery.threads.per.data.dir"))
	}
	if c.CleanerBackoff == 0 {
		c.CleanerBackoff = time.Millisecond
	}
	if !r.is("log.cleaner.enable") {
		c.CleanerBackoff = partition.Unlimited
	}
	if s.properties["log.retention.ms"] == "" && s.properties["log.retention.minutes"] == "" && s.properties["log.retention.hours"] == "" {
		c.Topics.RetentionAge = 168 * time.Hour // Kafka's; a store's own default is for ever
	}
	for key, v := range s.topicDefaults {
		if stored, ok := storedTopicConfig(key, v); ok {
			c.Topics.Extra[stored.key] = stored.value
		}
	}
	return c
}
