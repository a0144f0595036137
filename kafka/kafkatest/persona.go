package kafkatest

import (
	"maps"
	"reflect"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/kafka"
)

// Persona is a release of Apache Kafka that a cluster passes for: Kafka28, Kafka39, Kafka40 or Kafka41. What it advertises is
// what that release does, of the APIs that are for clients, and nothing else is served; so are features (KIP-584), error codes
// that it has not known yet (UNKNOWN_SERVER_ERROR takes their place) and the defaults of properties that have changed since.
//
// Where its smallest versions are below those of Kafka 4.1, which KIP-896 has raised, they are those of 4.1: nothing
// here reads or writes the message formats v0 and v1, which Produce 0 to 2 and Fetch 0 to 3 carry, and the versions
// of the other APIs that went with them are of clients older than Kafka 2.1. Produce 0 is advertised by all, as Kafka 4 does too.
type Persona struct {
	name     string
	max      map[int16]int16 // the newest version, by API key; an API that is missing is not served
	features []personaFeature
	code     int16             // the last error code that it knows
	refused  []int16           // APIs that are advertised and answered with UNSUPPORTED_VERSION
	defaults map[string]string // properties whose defaults were others than in 4.1
}

type personaFeature struct {
	name            string
	min, max, level int16
}

// String returns such as "Kafka 3.9".
func (p *Persona) String() string { return p.name }

// The releases. The newest versions are those of the request schemas of each release, as franz-go's package kversion lists
// them, which a test compares; features and what is said below are from the KIPs that changed them.
var (
	// Kafka28 is Apache Kafka 2.8 with ZooKeeper. It has no features, no group protocol of KIP-848, and no topic ids in Fetch. The ids of
	// producers expire after seven days, with those of transactions (KIP-854 made it one).
	Kafka28 = &Persona{
		name: "Kafka 2.8", code: 104, // INCONSISTENT_CLUSTER_ID
		max: map[int16]int16{
			0: 9, 1: 12, 2: 6, 3: 11, 8: 8, 9: 7, 10: 3, 11: 7, 12: 4, 13: 4, 14: 5, 15: 5, 16: 4, 17: 1, 18: 3, 19: 7, 20: 6, 21: 2, 22: 4, 23: 4, 24: 3,
			25: 3, 26: 3, 27: 1, 28: 3, 29: 2, 30: 2, 31: 2, 32: 4, 33: 2, 35: 2, 36: 2, 37: 3, 38: 2, 39: 2, 40: 2, 41: 2, 42: 2, 43: 2, 44: 1, 45: 0, 46: 0,
			47: 0, 48: 1, 49: 1, 50: 0, 51: 0, 57: 0, 60: 0, 61: 0,
		},
		defaults: map[string]string{"log.message.timestamp.after.max.ms": "9223372036854775807", "producer.id.expiration.ms": "604800000"},
	}

	// Kafka39 is Apache Kafka 3.9 with KRaft. It has the calls of KIP-848, and answers them with UNSUPPORTED_VERSION, as
	// group.coordinator.rebalance.protocols is "classic" by default; transactions are those before KIP-890.
	Kafka39 = &Persona{
		name: "Kafka 3.9", code: 127, // VOTER_NOT_FOUND
		max: map[int16]int16{
			0: 11, 1: 17, 2: 9, 3: 12, 8: 9, 9: 9, 10: 6, 11: 9, 12: 4, 13: 5, 14: 5, 15: 5, 16: 5, 17: 1, 18: 4, 19: 7, 20: 6, 21: 2, 22: 5, 23: 4, 24: 5,
			25: 4, 26: 4, 27: 1, 28: 4, 29: 3, 30: 3, 31: 3, 32: 4, 33: 2, 35: 4, 36: 2, 37: 3, 38: 3, 39: 2, 40: 2, 41: 3, 42: 2, 43: 2, 44: 1, 45: 0, 46: 0,
			47: 0, 48: 1, 49: 1, 50: 0, 51: 0, 55: 2, 57: 1, 60: 1, 61: 0, 65: 0, 66: 1, 68: 0, 69: 0, 71: 0, 72: 0, 74: 0, 75: 0,
		},
		features: []personaFeature{{"kraft.version", 0, 1, 0}, {"metadata.version", 1, 21, 21}},
		refused:  []int16{68, 69},
		defaults: map[string]string{"log.message.timestamp.after.max.ms": "9223372036854775807"},
	}

	// Kafka40 is Apache Kafka 4.0.1; 4.0.0 had no JoinGroup 0 and 1 (KAFKA-19444).
	Kafka40 = &Persona{
		name: "Kafka 4.0", code: 129, // REBOOTSTRAP_REQUIRED
		max: map[int16]int16{
			0: 12, 1: 17, 2: 10, 3: 13, 8: 9, 9: 9, 10: 6, 11: 9, 12: 4, 13: 5, 14: 5, 15: 6, 16: 5, 17: 1, 18: 4, 19: 7, 20: 6, 21: 2, 22: 5, 23: 4, 24: 5,
			25: 4, 26: 5, 27: 1, 28: 5, 29: 3, 30: 3, 31: 3, 32: 4, 33: 2, 35: 4, 36: 2, 37: 3, 38: 3, 39: 2, 40: 2, 41: 3, 42: 2, 43: 2, 44: 1, 45: 0, 46: 0,
			47: 0, 48: 1, 49: 1, 50: 0, 51: 0, 55: 2, 57: 2, 60: 2, 61: 0, 65: 0, 66: 1, 68: 1, 69: 1, 71: 0, 72: 0, 74: 0, 75: 0,
		},
		features: []personaFeature{
			{"eligible.leader.replicas.version", 0, 1, 0}, {"group.version", 0, 1, 1}, {"kraft.version", 0, 1, 0}, {"metadata.version", 7, 25, 25}, {"transaction.version", 0, 2, 2},
		},
	}

	// Kafka41 is Apache Kafka 4.1, which a cluster is anyhow.
	Kafka41 = &Persona{name: "Kafka 4.1", code: 133} // SHARE_SESSION_LIMIT_REACHED
)

// Ranges returns the versions of each API that the persona serves, by its key; nil means those of the package kafka.
func (p *Persona) Ranges() map[int16]kafka.Range {
	if p.max == nil {
		return nil
	}
	all := map[int16]kafka.Range{}
	for key := range int16(128) { // whatever package kafka serves
		if max, ok := p.max[key]; ok {
			all[key] = kafka.Range{Max: max} // the least is that of package kafka
		} else {
			all[key] = kafka.Range{Min: 0, Max: -1}
		}
	}
	return all
}

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
func (p *Persona) intercept(call *kafka.Call, next func() kafka.Answer) kafka.Answer {
	if p.max == nil {
		return next()
	}
	if slices.Contains(p.refused, call.Key) {
		const unsupportedVersion = 35
		return kafka.Answer{Response: walker{}.blank(call.Request, unsupportedVersion)}
	}
	answer := next()
	if answer.Response == nil || answer.Err != nil {
		return answer
	}
	if resp, ok := answer.Response.(*kmsg.ApiVersionsResponse); ok {
		p.feature(resp)
	}
	p.codes(reflect.ValueOf(answer.Response).Elem())
	return answer
}

// feature has an answer tell the release's features, where it tells any.
func (p *Persona) feature(resp *kmsg.ApiVersionsResponse) {
	find := func(name string) *personaFeature {
		if i := slices.IndexFunc(p.features, func(f personaFeature) bool { return f.name == name }); i >= 0 {
			return &p.features[i]
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
	if len(p.features) == 0 {
		resp.FinalizedFeaturesEpoch = -1
	}
}

// codes replaces error codes that the release does not know.
func (p *Persona) codes(v reflect.Value) {
	const unknownServerError = -1
	for i := range v.NumField() {
		f := v.Field(i)
		switch f.Kind() {
		case reflect.Int16:
			if v.Type().Field(i).Name == "ErrorCode" && f.Int() > int64(p.code) {
				f.SetInt(unknownServerError)
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
