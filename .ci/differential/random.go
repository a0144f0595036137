package main

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// drawn is an API whose requests are drawn at random.
type drawn struct {
	key      int16
	from, to int16
	often    int
	change   bool // the cluster's metadata; what follows waits until brokers know
	write    bool // changes something, and is asked once
	fix      func(*rand.Rand, kmsg.Request, *side)
}

var drawns = []drawn{
	{key: 0, from: 3, to: 13, often: 20, write: true, fix: produce},
	{key: 1, from: 4, to: 18, often: 25, fix: fetch},
	{key: 2, from: 1, to: 10, often: 20, fix: listOffsets},
	{key: 3, from: 0, to: 13, often: 15, fix: metadata},
	{key: 23, from: 2, to: 4, often: 10},
	{key: 21, from: 0, to: 2, often: 4, write: true},
	{key: 17, from: 0, to: 1, often: 1},
	{key: 19, from: 2, to: 7, often: 5, change: true, fix: createTopics},
	{key: 20, from: 1, to: 6, often: 3, change: true, fix: deleteTopics},
	{key: 37, from: 0, to: 3, often: 3, change: true},
	{key: 29, from: 1, to: 3, often: 1},
	{key: 30, from: 1, to: 3, often: 1},
	{key: 31, from: 1, to: 3, often: 1},
	{key: 32, from: 1, to: 4, often: 10, fix: describeConfigs},
	{key: 33, from: 0, to: 2, often: 2, change: true},
	{key: 44, from: 0, to: 1, often: 4, change: true},
	{key: 46, from: 0, to: 0, often: 2},
	{key: 48, from: 0, to: 1, often: 3},
	{key: 49, from: 0, to: 1, often: 3, change: true},
	{key: 50, from: 0, to: 0, often: 2},
	{key: 60, from: 0, to: 2, often: 2, fix: func(_ *rand.Rand, req kmsg.Request, _ *side) { req.(*kmsg.DescribeClusterRequest).EndpointType = 1 }},
	{key: 61, from: 0, to: 0, often: 4},
	{key: 75, from: 0, to: 0, often: 5},
	{key: 38, from: 1, to: 3, often: 1},
	{key: 39, from: 1, to: 2, often: 1},
	{key: 40, from: 1, to: 2, often: 1},
	{key: 41, from: 1, to: 3, often: 1},
	{key: 22, from: 0, to: 5, often: 1, write: true, fix: func(_ *rand.Rand, req kmsg.Request, _ *side) {
		r := req.(*kmsg.InitProducerIDRequest)
		r.TransactionalID, r.ProducerID, r.ProducerEpoch = nil, -1, -1
	}},
	{key: 10, from: 0, to: 6, often: 4},
	{key: 9, from: 1, to: 9, often: 6},
	{key: 8, from: 2, to: 9, often: 6, write: true},
	{key: 15, from: 0, to: 6, often: 4},
	{key: 12, from: 0, to: 4, often: 3},
	{key: 13, from: 0, to: 5, often: 3},
	{key: 69, from: 0, to: 1, often: 2},
	{key: 65, from: 0, to: 0, often: 2},
}

// dataTopics are those whose records are the same in both: the internal ones are not.
var dataTopics = []any{"t", "t", "u", "u", "nope", "bad name", "", "n1"}

// pools are values of fields, by name, with the request's name before it where they are of one request only.
var pools = map[string][]any{
	"Topic": {"t", "t", "u", "u", "nope", "bad name", "", "__consumer_offsets", "n1"}, "Topics": {"t", "u", "nope", "bad name", ""},
	"Partition": {0, 0, 1, 2, 3, -1}, "Partitions": {0, 1, 2, 3, -1},
	"TopicID":            {"t", "u", "t", "u", "unknown", "none"},
	"CurrentLeaderEpoch": {-1, -1, -1, 0, 1}, "LeaderEpoch": {-1, 0, 1, 7}, "ReplicaID": {-1},
	"Timestamp": {-1, -2, -3, -4, -5, -6, -7, 0, 1, 1000000000000, 1000000000005, 4000000000000}, "IsolationLevel": {0, 1},
	"MaxTimestamp": {0}, "TimeoutMillis": {60000}, "TimeoutMs": {60000}, "Offset": {-1, 0, 1, 3, 1000000, -2}, "Metadata": {nil, "", "some"},
	"Group": {"g1", "g1", "g2", "none", ""}, "Groups": {"g1", "g2", "none", ""}, "MemberID": {"", "", "m"}, "MemberEpoch": {-1, -1, 0, 1}, "Generation": {-1, -1, 0, 1},
	"InstanceID": {nil, nil, "i"}, "CoordinatorType": {0, 0, 1}, "CoordinatorKey": {"x", ""}, "CoordinatorKeys": {"x", "y", ""},
	"RetentionTimeMillis": {-1}, "CommitTimestamp": {-1}, "TransactionalIDs": {"none", ""}, "TransactionalID": {"none"},
	"Mechanism":          {"PLAIN", "SCRAM-SHA-256", ""},
	"CreateTopics.Topic": {"n1", "n2", "n3", "t", "bad name", "", ".", "n_4", "n.5"}, "NumPartitions": {-1, 0, 1, 2, -2}, "ReplicationFactor": {-1, 1, 1, 0, 2, -2},
	"Replicas":            {1, 1, 1, 2, -1},
	"DeleteTopics.Topics": {"n1", "n2", "n3", "nope", "bad name"}, "TopicNames": {"n1", "n2", "n3", "nope", "bad name"},
	"CreatePartitions.Topic": {"n1", "n2", "n3", "nope"}, "Count": {0, 1, 2, 3, 4, -1},
	"ResourceType":                         {2},
	"ACLs.ResourceType":                    {2, 3},
	"ResourceName":                         {"t", "u", "nope", "n1", "1", ""},
	"AlterConfigs.ResourceName":            {"c"},
	"AlterConfigs.ResourceType":            {2},
	"IncrementalAlterConfigs.ResourceType": {2}, "IncrementalAlterConfigs.ResourceName": {"c"},
	"Name":  {"retention.ms", "cleanup.policy", "max.message.bytes", "segment.bytes", "min.insync.replicas", "compression.type", "bogus", ""},
	"Value": {"1", "1000", "100000000", "-1", "compact", "compact,delete", "delete", "gzip", "x", "", nil}, "Op": {0, 0, 1, 2, 3},
	"Type": {"user", "client-id", "ip", "bogus"}, "EntityType": {"user", "client-id", "ip", "bogus"}, "MatchType": {0, 1, 2}, "Match": {"alice", nil},
	"EntityName": {"alice", "app", "127.0.0.9", nil}, "Key": {"producer_byte_rate", "consumer_byte_rate", "request_percentage", "bogus"},
	"User": {"alice", "nobody", ""}, "ResponsePartitionLimit": {2000, 1, 2, 0, -1}, "ConfigNames": {"retention.ms", "cleanup.policy", "num.network.threads", "bogus"},
	"ResourcePatternType": {3, 1, 4}, "Operation": {3, 4, 2}, "PermissionType": {3, 2}, "Principal": {"User:a"}, "Host": {"*"}, "PrincipalType": {"User"}, "PrincipalName": {"a"},
	"DescribeTopicPartitions.Topic": {"t", "u", "nope", "n1", "bad name"}, "Fetch.Topic": dataTopics, "ListOffsets.Topic": dataTopics, "OffsetForLeaderEpoch.Topic": dataTopics, "DescribeProducers.Topic": dataTopics,
	"DeleteRecords.Topic": {"u", "u", "nope", "bad name", "", "n1"},
	"Fetch.MaxBytes":      {1 << 20}, "AlterClientQuotas.Name": {"alice", "app", "127.0.0.9"}, "Fetch.TopicID": {"t", "u", "t", "u", "unknown"}, "RackID": {""}, "MaxWaitMillis": {0}, "MinBytes": {0, 1}, "MaxBytes": {1 << 20, 1 << 20, 100, 1, 0}, "PartitionMaxBytes": {1 << 20, 1 << 20, 100, 1, 0},
	"FetchOffset": {0, 0, 1, 2, 5, -1, 1000000}, "LastFetchedEpoch": {-1, -1, 0}, "LogStartOffset": {-1}, "SessionID": {0}, "SessionEpoch": {-1, -1, -1, 0},
	"Reason": {nil, "why"}, "MaxLifetimeMillis": {-1}, "RenewTimeMillis": {1000}, "ExpiryPeriodMillis": {1000},
}

func init() {
	for _, name := range []string{"CreateACLs", "DeleteACLs", "DescribeACLs"} {
		pools[name+".ResourceType"] = pools["ACLs.ResourceType"]
	}
	delete(pools, "ACLs.ResourceType")
}

// random sends n requests that are drawn from a seed: each is drawn twice, with the same draws, as ids are each broker's own.
func (r *run) random(seed uint64, n int) {
	var wheel []drawn
	for _, d := range drawns {
		for range d.often {
			wheel = append(wheel, d)
		}
	}
	draw := rand.New(rand.NewPCG(seed, 0))
	for i := range n {
		d := wheel[draw.IntN(len(wheel))]
		version := d.from + int16(draw.IntN(int(d.to-d.from)+1))
		build := func(s *side) kmsg.Request {
			g := generator{rand.New(rand.NewPCG(seed, uint64(i)+1)), s, kmsg.NameForKey(d.key)}
			req := kmsg.RequestForKey(d.key)
			req.SetVersion(version)
			g.fill(reflect.ValueOf(req).Elem())
			if d.fix != nil {
				d.fix(g.Rand, req, s)
			}
			return req
		}
		what := fmt.Sprintf("%d: %s %d %s", i, kmsg.NameForKey(d.key), version, asked(build(r.kafka)))
		ask := func(s *side) kmsg.Response { return s.ask(version, build(s)) }
		if d.change || d.write {
			r.both(what, ask)
		} else {
			r.read(what, ask)
		}
		if d.change {
			r.barrier()
			r.each((*side).learn)
		}
	}
}

func asked(req kmsg.Request) string {
	return strings.ReplaceAll(fmt.Sprintf("%+v", dump(reflect.ValueOf(req))), "UnknownTags:{}", "")
}

type generator struct {
	*rand.Rand
	s       *side
	request string
}

// fill draws the fields of a struct.
func (g *generator) fill(v reflect.Value) {
	if d, ok := v.Addr().Interface().(interface{ Default() }); ok {
		d.Default()
	}
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.IsExported() && f.Name != "Version" && f.Name != "UnknownTags" {
			g.draw(f.Name, v.Field(i))
		}
	}
}

func (g *generator) draw(name string, v reflect.Value) {
	if v.Kind() == reflect.Slice && v.Type().Elem().Kind() != reflect.Uint8 {
		g.list(name, v)
		return
	}
	if v.Kind() == reflect.Struct {
		g.fill(v)
		return
	}
	if v.Kind() == reflect.Bool {
		v.SetBool(g.IntN(2) == 0)
		return
	}
	pool := pools[g.request+"."+name]
	if pool == nil {
		pool = pools[name]
	}
	if len(pool) == 0 {
		return
	}
	x := pool[g.IntN(len(pool))]
	switch {
	case v.Type() == reflect.TypeFor[[16]byte]():
		id := g.s.topic[fmt.Sprint(x)]
		if x == "unknown" {
			id = unknownID
		}
		v.Set(reflect.ValueOf(id))
	case v.Kind() == reflect.Pointer && v.Type().Elem().Kind() == reflect.String:
		if x == nil {
			v.SetZero()
		} else {
			text := fmt.Sprint(x)
			v.Set(reflect.ValueOf(&text))
		}
	case v.Kind() == reflect.String:
		if x == nil {
			x = ""
		}
		v.SetString(fmt.Sprint(x))
	case v.CanInt():
		if n, ok := x.(int); ok {
			v.SetInt(int64(n))
		}
	case v.CanFloat():
		v.SetFloat(float64(1000 * g.IntN(3)))
	}
}

// list draws null, empty, or some elements, all with different names.
func (g *generator) list(name string, v reflect.Value) {
	n := g.IntN(9)
	if n < 2 && name == "Partitions" {
		n = 2 // Kafka leaves topics without partitions out of answers
	}
	switch n {
	case 0:
		v.SetZero()
		return
	case 1:
		v.Set(reflect.MakeSlice(v.Type(), 0, 0))
		return
	}
	seen := map[string]bool{}
	all := reflect.MakeSlice(v.Type(), 0, 0)
	for range 1 + n%3 {
		one := reflect.New(v.Type().Elem()).Elem()
		if one.Kind() == reflect.Struct {
			g.fill(one)
		} else {
			g.draw(name, one)
		}
		if id := firsts(one); !seen[id] || one.Kind() == reflect.Struct && one.FieldByName("TopicID").IsValid() && name == "Topics" && g.request == "Fetch" {
			seen[id] = true
			all = reflect.Append(all, one)
		}
	}
	v.Set(all)
}

// firsts is what tells the elements of a request apart.
func firsts(v reflect.Value) string {
	if v.Kind() != reflect.Struct {
		return fmt.Sprint(v.Interface())
	}
	var parts []string
	for i := range v.NumField() {
		f := v.Field(i)
		if slices.Contains([]string{"Topic", "Partition", "Group", "Name", "ResourceName", "ResourceType", "EntityType", "Type", "Key", "User", "MemberID", "Entity"}, v.Type().Field(i).Name) {
			parts = append(parts, fmt.Sprint(dump(f)))
		}
	}
	return strings.Join(parts, "/")
}
