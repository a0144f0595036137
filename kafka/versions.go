package kafka

import (
	"maps"
	"math"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// The keys of APIs that need naming.
const (
	keyProduce              int16 = 0
	keyFetch                int16 = 1
	keyListOffsets          int16 = 2
	keyMetadata             int16 = 3
	keySASLHandshake        int16 = 17
	keyApiVersions          int16 = 18
	keyDeleteRecords        int16 = 21
	keyOffsetForLeaderEpoch int16 = 23
	keySASLAuthenticate     int16 = 36
	keyDescribeCluster      int16 = 60
)

// Range is a range of versions of one API, both ends included.
type Range struct{ Min, Max int16 }

// api is one line of the table of APIs.
type api struct {
	name string
	// Range is what is advertised, which is what Apache Kafka 4.1 advertises.
	Range
	// floor is the smallest version that is served, where it is not Min: Produce 0 to 2 are advertised for the sake of old
	// librdkafka, which takes their absence for one of compression (librdkafka #4956), and refused.
	floor int16
	// oldest is what floor is with Config.OldVersions. It is 0 but for Produce and Fetch, whose older versions carry the message
	// formats v0 and v1; filled in.
	oldest int16

	handle handler
	// unsafe says that strings of the request point into the frame: the handler copies what it keeps.
	unsafe bool

	flexible int16 // the first version with tagged fields; filled in
}

// apis holds every API that is served, by its key. Each file with a handler has its line here.
var apis = map[int16]*api{}

func init() { // not an initializer, which the handlers would be part of
	for key, a := range map[int16]api{
		keyProduce:              {name: "Produce", Range: Range{0, 13}, floor: 3, handle: handleProduce, unsafe: true},
		keyFetch:                {name: "Fetch", Range: Range{4, 18}, floor: 4, handle: handleFetch, unsafe: true},
		keyListOffsets:          {name: "ListOffsets", Range: Range{1, 10}, handle: handleListOffsets},
		keyMetadata:             {name: "Metadata", Range: Range{0, 13}, handle: handleMetadata},
		keyApiVersions:          {name: "ApiVersions", Range: Range{0, 4}, handle: handleApiVersions},
		keyDeleteRecords:        {name: "DeleteRecords", Range: Range{0, 2}, handle: handleDeleteRecords},
		keyOffsetForLeaderEpoch: {name: "OffsetForLeaderEpoch", Range: Range{2, 4}, handle: handleOffsetForLeaderEpoch},
		keyDescribeCluster:      {name: "DescribeCluster", Range: Range{0, 2}, handle: handleDescribeCluster},
	} {
		apis[key] = &a
	}
}

// prepareAPIs completes the table, once all files have put their lines into it.
var prepareAPIs = sync.OnceFunc(func() {
	for key, a := range apis {
		a.flexible, a.oldest, a.floor = firstFlexible(key), a.floor, max(a.floor, a.Min)
	}
})

// firstFlexible asks kmsg from which version on an API's requests have tagged fields.
func firstFlexible(key int16) int16 {
	req := kmsg.RequestForKey(key)
	for v := int16(0); v < 64; v++ {
		if req.SetVersion(v); req.IsFlexible() {
			return v
		}
	}
	return math.MaxInt16
}

// flexible reports whether a request of this version has tagged fields, in its header too.
func flexible(key, version int16) bool {
	a := apis[key]
	return a != nil && version >= a.flexible
}

// servedVersions are the ranges of all APIs, with those that Kafka 4 has dropped if old says so, narrowed; the map is not to be
// changed.
func servedVersions(narrow map[int16]Range, old, telemetry bool) map[int16]Range {
	if len(narrow) == 0 && !old && !telemetry {
		return usualVersions()
	}
	return narrowedVersions(narrow, old, telemetry)
}

// usualVersions are the same for all servers that do not say otherwise.
var usualVersions = sync.OnceValue(func() map[int16]Range { return narrowedVersions(nil, false, false) })

func narrowedVersions(narrow map[int16]Range, old, telemetry bool) map[int16]Range {
	out := make(map[int16]Range, len(apis))
	for key, a := range apis {
		if !telemetry && (key == keyGetTelemetrySubscriptions || key == keyPushTelemetry) {
			continue
		}
		if slices.Contains(ofNodes, key) { // newServer adds them for a node
			continue
		}
		r := a.Range
		if old {
			r.Min = min(r.Min, a.oldest)
		}
		if n, ok := narrow[key]; ok {
			r = Range{max(r.Min, n.Min), min(r.Max, n.Max)}
		}
		if r.Min <= r.Max {
			out[key] = r
		}
	}
	return out
}

// keysOf returns the keys of served versions, sorted. A server is made within microseconds, of which sorting them takes many.
func keysOf(served map[int16]Range) []int16 {
	keys := make([]int16, 0, len(served))
	for _, key := range sortedAPIs() {
		if _, ok := served[key]; ok {
			keys = append(keys, key)
		}
	}
	return keys
}

var sortedAPIs = sync.OnceValue(func() []int16 { return slices.Sorted(maps.Keys(apis)) })

// apiName returns the name of an API, for events and errors.
func apiName(key int16) string {
	if a := apis[key]; a != nil {
		return a.name
	}
	return "unknown API"
}
