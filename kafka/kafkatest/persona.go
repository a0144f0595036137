package kafkatest

import (
	"maps"
	"reflect"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/kafka"
)

// Persona is a release of Apache Kafka that a cluster passes for: Kafka28, Kafka39, Kafka40 or Kafka41. It advertises and serves
// the versions of APIs that a broker of that release does, down to the oldest, with the fields and error codes of each; nothing
// else is served. So are its features (KIP-584), error codes that it has not known yet (UNKNOWN_SERVER_ERROR takes their place), the names
// and defaults of its configurations, and what else requests to both have shown to be answered otherwise since. The versions are what brokers of 2.8.2, 3.9.1, 4.0.1 and 4.1.2 have said of
// themselves (testdata/personas).
//
// Left out are the message formats v0 and v1, which Produce 0 to 2 and Fetch 0 to 3 carry: Fetch begins with 4; Produce is advertised
// from 0 on, as all these releases do, and closes the connection below 3, as Kafka 4 does. Left out too are what brokers and controllers
// say to each other (LeaderAndIsr, StopReplica, UpdateMetadata, ControlledShutdown, AlterIsr: 2.8 tells clients of them as
// well), AlterReplicaLogDirs, and what the package kafka does not serve.
type Persona struct {
	name      string
	release   string            // names the file of its versions; empty: what package kafka serves
	code      int16             // the last error code that it knows
	telemetry bool              // it serves KIP-714, if somebody wants what clients tell (kafka.Config.ClientMetrics)
	habits    []habit           // what else it did otherwise than 4.1
	defaults  map[string]string // properties whose defaults were others than in 4.1, and matter
}

// String returns such as "Kafka 3.9".
func (p *Persona) String() string { return p.name }

// The releases.
var (
	// Kafka28 is Apache Kafka 2.8 with ZooKeeper. It has no features, no group protocol of KIP-848, and no topic ids in Fetch.
	// OffsetCommit 0 and OffsetFetch 0 are about offsets of their own, which were in ZooKeeper and are in the store's catalogue here.
	// The ids of producers expire after seven days, with those of transactions (KIP-854 made it one).
	Kafka28 = &Persona{
		name: "Kafka 2.8", release: "2.8", code: 104, // INCONSISTENT_CLUSTER_ID
		habits: []habit{
			noAbortedListBesideErrors, anyTimestampIsATime, groupsHaveNoConfigs, statesAreSpelled, electionsTakeTheirTime, electedTopicsOnly, electionsOfNoKind, matchesAreForNames, topicsAreCheckedByZooKeeper,
			featuresFailOneByOne(codeInvalidRequest), featuresOfRelease, badNamesAreUnknown, strangersHaveNoTransactions, describedKinds(configOfTopic, configOfBroker, configOfLogger), alteredKinds(configOfTopic, configOfBroker, configOfLogger), ownTopicConfigs, releaseConfigs,
		},
		defaults: map[string]string{"log.message.timestamp.after.max.ms": "9223372036854775807", "producer.id.expiration.ms": "604800000"},
	}

	// Kafka39 is Apache Kafka 3.9 with KRaft. It has the calls of KIP-848, and answers them with UNSUPPORTED_VERSION, as
	// group.coordinator.rebalance.protocols is "classic" by default; OffsetCommit 0 and OffsetFetch 0 as well, as there is no
	// ZooKeeper. Transactions are those before KIP-890.
	Kafka39 = &Persona{
		name: "Kafka 3.9", release: "3.9", code: 127, // VOTER_NOT_FOUND
		telemetry: true,
		habits: []habit{
			noOffsetsInZooKeeper(keyOffsetCommit), noOffsetsInZooKeeper(keyOffsetFetch), groupsHaveNoConfigs, shareGroupsAreNotThereYet, newCommitsToNoGroup, featuresFailOneByOne(codeInvalidUpdateVersion), featuresOfRelease,
			strangersHaveNoTransactions, subscriptionsHaveNoDefaults, describedKinds(configOfTopic, configOfBroker, configOfLogger, configOfMetrics), alteredKinds(configOfTopic, configOfBroker, configOfLogger, configOfMetrics), ownTopicConfigs, releaseConfigs,
		},
		defaults: map[string]string{"log.message.timestamp.after.max.ms": "9223372036854775807"},
	}

	// Kafka40 is Apache Kafka 4.0.1; 4.0.0 had no JoinGroup 0 and 1 (KAFKA-19444).
	Kafka40 = &Persona{
		name: "Kafka 4.0", release: "4.0", code: 129, // REBOOTSTRAP_REQUIRED
		telemetry: true,
		habits:    []habit{subscriptionsHaveNoDefaults, featuresOfRelease, ownTopicConfigs, releaseConfigs},
	}

	// Kafka41 is Apache Kafka 4.1, which a cluster is anyhow.
	Kafka41 = &Persona{name: "Kafka 4.1", code: 133} // SHARE_SESSION_LIMIT_REACHED
)

// As has the cluster pass for a release of Kafka. Properties that are set otherwise are as they are set. Versions of Server
// are narrowed further.
func As(p *Persona) Option {
	return func(c *config) {
		defaults := maps.Clone(p.defaults)
		maps.DeleteFunc(defaults, func(name, _ string) bool { _, set := c.properties[name]; return set })
		maps.Copy(c.properties, defaults)
		c.persona = p
	}
}

// narrow returns what both serve.
func narrow(a, b map[int16]kafka.Range) map[int16]kafka.Range {
	if len(a) == 0 {
		return b
	}
	all := maps.Clone(a)
	for key, r := range b {
		if x, ok := all[key]; ok {
			r = kafka.Range{Min: max(x.Min, r.Min), Max: min(x.Max, r.Max)}
		}
		all[key] = r
	}
	return all
}

// intercept is around a request: errors and features that the release does not know are not told.
func (p *Persona) intercept(c *Cluster, call *kafka.Call, next func() kafka.Answer) kafka.Answer {
	if p.release == "" {
		return next()
	}
	if slices.Contains(ownTopicConfigs.keys, call.Key) {
		defer c.configs.done(call)
	}
	for i := range p.habits {
		if h := &p.habits[i]; h.before != nil && slices.Contains(h.keys, call.Key) {
			h.before(c, call)
		}
	}
	answer := next()
	if answer.Response == nil || answer.Err != nil {
		return answer
	}
	for i := range p.habits {
		if h := &p.habits[i]; h.after != nil && slices.Contains(h.keys, call.Key) {
			h.after(c, call, answer.Response)
		}
	}
	if resp, ok := answer.Response.(*kmsg.ApiVersionsResponse); ok {
		p.feature(resp)
	}
	p.codes(reflect.ValueOf(answer.Response).Elem())
	return answer
}

// feature has an answer tell the release's features, where it tells any.
func (p *Persona) feature(resp *kmsg.ApiVersionsResponse) {
	own := p.versions().features
	find := func(name string) *personaFeature {
		if i := slices.IndexFunc(own, func(f personaFeature) bool { return f.name == name }); i >= 0 {
			return &own[i]
		}
		return nil
	}
	resp.SupportedFeatures = slices.DeleteFunc(resp.SupportedFeatures, func(f kmsg.ApiVersionsResponseSupportedFeature) bool { return find(f.Name) == nil })
	for i := range resp.SupportedFeatures {
		f := &resp.SupportedFeatures[i]
		f.MinVersion, f.MaxVersion = find(f.Name).min, find(f.Name).max
	}
	resp.FinalizedFeatures = slices.DeleteFunc(resp.FinalizedFeatures, func(f kmsg.ApiVersionsResponseFinalizedFeature) bool {
		known := find(f.Name)
		return known == nil || known.level == 0
	})
	for i := range resp.FinalizedFeatures {
		f := &resp.FinalizedFeatures[i]
		level := min(f.MaxVersionLevel, find(f.Name).level)
		f.MinVersionLevel, f.MaxVersionLevel = level, level
	}
	if len(own) == 0 && resp.ErrorCode == 0 {
		resp.FinalizedFeaturesEpoch = 0 // of nothing
	}
}

// codes replaces error codes that the release does not know.
func (p *Persona) codes(v reflect.Value) {
	for i := range v.NumField() {
		f := v.Field(i)
		switch f.Kind() {
		case reflect.Int16:
			if v.Type().Field(i).Name == "ErrorCode" && f.Int() > int64(p.code) {
				f.SetInt(int64(codeUnknownServerError))
			}
		case reflect.Slice:
			if f.Type().Elem().Kind() == reflect.Struct {
				for j := range f.Len() {
					p.codes(f.Index(j))
				}
			}
		}
	}
}
