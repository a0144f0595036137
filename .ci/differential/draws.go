package main

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/compress"
)

// dump is a value that prints without pointers.
func dump(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return "null"
		}
		return dump(v.Elem())
	case reflect.Struct:
		var b strings.Builder
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() && f.Name != "UnknownTags" {
				fmt.Fprintf(&b, " %s:%s", f.Name, dump(v.Field(i)))
			}
		}
		return "{" + strings.TrimPrefix(b.String(), " ") + "}"
	case reflect.Slice:
		if v.IsNil() {
			return "null"
		}
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return fmt.Sprintf("%d bytes", v.Len())
		}
		var all []string
		for i := range v.Len() {
			all = append(all, dump(v.Index(i)))
		}
		return "[" + strings.Join(all, " ") + "]"
	case reflect.String:
		return fmt.Sprintf("%q", v.String())
	}
	return fmt.Sprint(v.Interface())
}

// produce draws batches, some of them damaged. A batch has no producer: sequences are drawn with the transactions.
func produce(g *rand.Rand, req kmsg.Request, s *side) {
	r := req.(*kmsg.ProduceRequest)
	r.TransactionID, r.TimeoutMillis = nil, 60000
	r.Acks = []int16{-1, -1, -1, 1, 1, 1, 0, 0, 2, -2}[g.IntN(10)]
	r.Topics = distinct(r.Topics, func(t *kmsg.ProduceRequestTopic) string { return one(req, 13, &t.Topic, &t.TopicID) })
	for i := range r.Topics {
		for j := range r.Topics[i].Partitions {
			r.Topics[i].Partitions[j].Records = records(g)
		}
	}
}

func records(g *rand.Rand) []byte {
	if g.IntN(40) == 0 { // null makes Kafka fail without an answer
		return []byte{}
	}
	var w batch.Builder
	codec := []compress.Codec{compress.None, compress.None, compress.Gzip, compress.Snappy, compress.LZ4}[g.IntN(5)]
	w.Reset(nil, batch.Options{Codec: codec})
	for i := range 1 + g.IntN(4) {
		w.Append(1_000_000_000_000+int64(g.IntN(10)), []byte{byte(i)}, []byte(strings.Repeat("v", g.IntN(50))), nil)
	}
	b, err := w.Finish()
	if err != nil {
		fail(err)
	}
	damaged := append([]byte(nil), b...)
	switch g.IntN(12) {
	case 2:
		return damaged[:len(damaged)-1]
	case 3:
		damaged[17]++ // the checksum
	case 4:
		damaged[16] = 1 // the format
	case 5:
		return append(damaged, damaged...)
	}
	return damaged
}

func fetch(g *rand.Rand, req kmsg.Request, _ *side) {
	r := req.(*kmsg.FetchRequest)
	r.ReplicaState.ID, r.ReplicaState.Epoch, r.ClusterID = -1, -1, nil
	if r.SessionEpoch != 0 || g.IntN(4) > 0 {
		r.SessionID = []int32{0, 0, 0, 0, 12345}[g.IntN(5)]
	}
	r.ForgottenTopics = nil
	readable(r)
}

// readable takes off what kafka/DIFFERENCES.md has of fetches.
func readable(r *kmsg.FetchRequest) {
	for i := range r.Topics {
		for j := range r.Topics[i].Partitions {
			if r.IsolationLevel == 1 { // what diverges or does not fit has null for aborted transactions there
				r.Topics[i].Partitions[j].LastFetchedEpoch, r.Topics[i].Partitions[j].PartitionMaxBytes = -1, 1<<20
			}
		}
	}
	r.Topics = distinct(r.Topics, func(t *kmsg.FetchRequestTopic) string { return one(r, 13, &t.Topic, &t.TopicID) })
}

// one leaves a topic its id from a version on, and its name before, and returns it.
func one(req kmsg.Request, since int16, name *string, id *[16]byte) string {
	if req.GetVersion() >= since {
		*name = ""
		return string(id[:])
	}
	*id = [16]byte{}
	return *name
}

// distinct keeps the first of those that are called the same.
func distinct[T any](all []T, name func(*T) string) []T {
	seen := map[string]bool{}
	var kept []T
	for i := range all {
		if n := name(&all[i]); !seen[n] {
			seen[n] = true
			kept = append(kept, all[i])
		}
	}
	return kept
}

// listOffsets asks for no largest timestamp where records may have been deleted: Kafka tells of one that is gone.
func listOffsets(_ *rand.Rand, req kmsg.Request, _ *side) {
	for _, t := range req.(*kmsg.ListOffsetsRequest).Topics {
		for i := range t.Partitions {
			if t.Topic == "u" && t.Partitions[i].Timestamp == -3 {
				t.Partitions[i].Timestamp = -1
			}
		}
	}
}

// metadata asks for topics by name, or by id with the name null, as clients do.
func metadata(g *rand.Rand, req kmsg.Request, _ *side) {
	r := req.(*kmsg.MetadataRequest)
	for i := range r.Topics {
		t := &r.Topics[i]
		switch {
		case r.GetVersion() >= 12 && t.TopicID != [16]byte{} && g.IntN(2) == 0:
			t.Topic = nil
		default:
			t.TopicID = [16]byte{}
			if t.Topic == nil {
				name := "t"
				t.Topic = &name
			}
		}
	}
}

func createTopics(g *rand.Rand, req kmsg.Request, _ *side) {
	r := req.(*kmsg.CreateTopicsRequest)
	for i := range r.Topics {
		if g.IntN(3) > 0 {
			r.Topics[i].ReplicaAssignment = nil
		}
		if g.IntN(2) > 0 {
			r.Topics[i].Configs = nil
		}
		for j := range r.Topics[i].ReplicaAssignment {
			if g.IntN(2) > 0 {
				r.Topics[i].ReplicaAssignment[j].Replicas = []int32{1}
			}
		}
	}
}

func deleteTopics(_ *rand.Rand, req kmsg.Request, _ *side) {
	r := req.(*kmsg.DeleteTopicsRequest)
	for i := range r.Topics {
		name := []string{"n1", "n2", "nope", "bad name"}[i%4]
		r.Topics[i].Topic, r.Topics[i].TopicID = &name, [16]byte{}
	}
}

// describeConfigs asks brokers for some configurations only: many are each broker's own.
func describeConfigs(g *rand.Rand, req kmsg.Request, _ *side) {
	r := req.(*kmsg.DescribeConfigsRequest)
	for i := range r.Resources {
		one := &r.Resources[i]
		if one.ResourceType != kmsg.ConfigResourceTypeTopic && len(one.ConfigNames) == 0 {
			one.ConfigNames = []string{"num.network.threads", "log.cleaner.threads"}
		}
	}
}
