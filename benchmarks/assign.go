package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/partlog/partlog/group"
)

const (
	kafkaTool     = "../.ci/kafka/kafka"
	kafkaAssignor = "../.ci/assignors/Assignors.java"
	// assignTopicPartitions is the number of partitions of each topic.
	assignTopicPartitions = 100
)

// assignCell measures how long the leader of a group takes to divide partitions again with the sticky assignor, after 2 %
// of the members were replaced by new ones; everybody tells its last assignment. A record is a partition. The rival is
// Kafka's own StickyAssignor in Java on the same input, after as much time of warm-up as is measured; its latency is the
// mean. unequal leaves one topic in ten out of every member's subscription, another one for each.
func assignCell(name string, members, partitions int, unequal bool) cell {
	c := cell{name: name, contenders: []contender{
		{"partlog", inProcess, func(e environment) (sample, error) { return assignPartlog(e, regroup(members, partitions, unequal)) }},
	}}
	if why := noJava(); why != "" {
		c.note = "without the rival, Kafka's assignor in Java: " + why
		return c
	}
	c.contenders = append(c.contenders, contender{"kafka", inProcess, func(e environment) (sample, error) {
		return assignKafka(e, regroup(members, partitions, unequal))
	}})
	return c
}

// noJava says why Kafka's assignors cannot be asked; empty if they can.
func noJava() string {
	for _, program := range []string{"java", "mvn"} {
		if _, err := exec.LookPath(program); err != nil {
			return err.Error()
		}
	}
	if _, err := os.Stat(filepath.FromSlash(kafkaTool)); err != nil {
		return "not started in the directory benchmarks of a checkout"
	}
	return ""
}

// regrouping is what the leader is given.
type regrouping struct {
	cluster group.Cluster
	members []group.AssignorMember
	total   int
}

func regroup(members, partitions int, unequal bool) regrouping {
	r := regrouping{cluster: group.Cluster{Partitions: make(map[string]int32)}, total: partitions}
	var topics []string
	for left := partitions; left > 0; left -= assignTopicPartitions {
		t := fmt.Sprintf("topic-%03d", len(topics))
		topics = append(topics, t)
		r.cluster.Partitions[t] = int32(min(left, assignTopicPartitions))
	}
	member := func(i int) group.AssignorMember {
		m := group.AssignorMember{MemberID: fmt.Sprintf("consumer-%d-5f3c2a7e-%04x", i, i*7919%65536)}
		m.Generation = group.NoGeneration
		for t, topic := range topics {
			if !unequal || (i+t)%10 != 0 {
				m.Topics = append(m.Topics, topic)
			}
		}
		return m
	}
	for i := range members {
		r.members = append(r.members, member(i))
	}
	had := group.Sticky.Assign(r.cluster, r.members)
	for i := range r.members {
		m := &r.members[i]
		if i%50 == 7 {
			*m = member(members + i) // in the place of one that left
			continue
		}
		m.Generation = 1
		m.UserData = group.Sticky.UserData(had[m.MemberID], m.Generation)
	}
	return r
}

func assignPartlog(e environment, r regrouping) (sample, error) {
	for range 20 { // warm up
		group.Sticky.Assign(r.cluster, r.members)
	}
	got := sample{hist: new(histogram)}
	before, started := mallocs(), time.Now()
	for time.Since(started) < e.duration {
		began := time.Now()
		assigned := group.Sticky.Assign(r.cluster, r.members)
		got.hist.add(time.Since(began))
		n := 0
		for _, tps := range assigned {
			n += len(tps)
		}
		if n != r.total {
			return sample{}, fmt.Errorf("%d of %d partitions were assigned", n, r.total)
		}
		got.records += int64(n)
	}
	got.elapsed, got.mallocs = time.Since(started), mallocs()-before
	return got, nil
}

func assignKafka(e environment, r regrouping) (sample, error) {
	type member struct {
		ID           string `json:"id"`
		Subscription string `json:"subscription"`
	}
	question := struct {
		Assignor   string           `json:"assignor"`
		Seconds    float64          `json:"seconds"`
		Partitions map[string]int32 `json:"partitions"`
		Members    []member         `json:"members"`
	}{"sticky", e.duration.Seconds(), r.cluster.Partitions, nil}
	for _, m := range r.members {
		question.Members = append(question.Members, member{m.MemberID, hex.EncodeToString(m.Append(nil))})
	}
	in, err := json.Marshal(question)
	if err != nil {
		return sample{}, err
	}
	c := exec.Command(filepath.FromSlash(kafkaTool), "tool", filepath.FromSlash(kafkaAssignor))
	c.Stdin, c.Stderr = bytes.NewReader(append(in, '\n')), os.Stderr
	out, err := c.Output()
	if err != nil {
		return sample{}, err
	}
	var answer struct {
		Nanos, Rounds int64
		Error         string
	}
	if err := json.Unmarshal(out, &answer); err != nil || answer.Nanos == 0 {
		return sample{}, fmt.Errorf("the assignor of Kafka: %s %w", answer.Error, err)
	}
	got := sample{hist: new(histogram), records: answer.Rounds * int64(r.total), elapsed: time.Duration(answer.Nanos * answer.Rounds)}
	got.hist.add(time.Duration(answer.Nanos))
	return got, nil
}
