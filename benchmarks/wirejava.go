package main

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// The Java cells run Apache Kafka's own performance tools, with its own client, against each broker, and show what they
// print. A run begins with a cold virtual machine for every broker alike.
const (
	javaProduced = 1_000_000 // records of 100 bytes
	javaConsumed = 2_000_000
	javaTrips    = 3_000 // the tool throws some away at its start
	javaSize     = 100
)

// javaCell is a wire cell whose client is a tool of Apache Kafka; without Java it has no rows.
func javaCell(name string, run func(*broker) (sample, error), systems ...string) cell {
	if reason := noJava(); reason != "" {
		return cell{name: name, note: "left out: " + reason}
	}
	return wireCell(name, func(_ environment, b *broker) (sample, error) {
		used := b.cpu()
		s, err := run(b)
		if s.extra == nil {
			s.extra = map[string]float64{}
		}
		if s.extra["cpu_ns"] == 0 && s.records > 0 {
			s.extra["cpu_ns"] = float64(b.cpu()-used) / float64(s.records)
		}
		return s, err
	}, 1, systems...)
}

func javaProduceCell(name string) cell {
	return javaCell(name, javaProduce, "partlog", "raw", "kafka")
}

func javaProduce(b *broker) (sample, error) {
	out, err := javaTool("ProducerPerformance", "--topic", wireTopic, "--num-records", strconv.Itoa(javaProduced), "--record-size", strconv.Itoa(javaSize),
		"--throughput", "-1", "--producer-props", "bootstrap.servers="+b.address)
	if err != nil {
		return sample{}, err
	}
	// The last line is about all: 1000000 records sent, 812345.6 records/sec (77.47 MB/sec), 12.34 ms avg latency, …
	all := produced.FindAllStringSubmatch(out, -1)
	if len(all) == 0 {
		return sample{}, fmt.Errorf("ProducerPerformance says %q", out)
	}
	return javaSample(all[len(all)-1][1], all[len(all)-1][2])
}

var produced = regexp.MustCompile(`(\d+) records sent, ([\d.]+) records/sec`)

func javaConsumeCell(name string) cell {
	return javaCell(name, javaConsume, "partlog", "raw", "kafka")
}

func javaConsume(b *broker) (sample, error) {
	if _, err := wireProduce(b, javaSize, 1, func(sent int64, _ time.Time) bool { return sent < javaConsumed }); err != nil {
		return sample{}, err
	}
	used := b.cpu()
	out, err := javaTool("ConsumerPerformance", "--topic", wireTopic, "--bootstrap-server", b.address, "--messages", strconv.Itoa(javaConsumed), "--hide-header")
	if err != nil {
		return sample{}, err
	}
	// One line: start, end, MB, MB/s, records, records/s, rebalance ms, fetch ms, fetch MB/s, fetch records/s.
	for line := range strings.Lines(out) {
		f := strings.Split(strings.TrimSpace(line), ", ")
		if len(f) != 10 {
			continue
		}
		s, err := javaSample(f[4], f[9])
		if err == nil {
			s.extra = map[string]float64{"cpu_ns": float64(b.cpu()-used) / float64(s.records)}
		}
		return s, err
	}
	return sample{}, fmt.Errorf("ConsumerPerformance says %q", out)
}

// javaEndToEndCell compares avg_us: the tool rounds percentiles to milliseconds.
func javaEndToEndCell(name string) cell {
	c := javaCell(name, javaEndToEnd, "partlog", "kafka")
	c.smaller = "avg_us"
	return c
}

func javaEndToEnd(b *broker) (sample, error) {
	out, err := javaTool("EndToEndLatency", b.address, wireTopic, strconv.Itoa(javaTrips), "1", strconv.Itoa(javaSize))
	if err != nil {
		return sample{}, err
	}
	m := averaged.FindStringSubmatch(out)
	if m == nil {
		return sample{}, fmt.Errorf("EndToEndLatency says %q", out)
	}
	millis, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		return sample{}, err
	}
	s := sample{records: javaTrips, bytes: javaTrips * javaSize, elapsed: time.Duration(javaTrips * millis * float64(time.Millisecond))}
	s.extra = map[string]float64{"avg_us": millis * 1000}
	return s, nil
}

var averaged = regexp.MustCompile(`Avg latency: ([\d.]+) ms`)

// javaSample makes a sample of a tool's count and its records a second.
func javaSample(count, rate string) (sample, error) {
	n, err := strconv.ParseInt(count, 10, 64)
	r, rerr := strconv.ParseFloat(rate, 64)
	if err := errors.Join(err, rerr); err != nil {
		return sample{}, err
	}
	if n == 0 || r <= 0 {
		return sample{}, fmt.Errorf("%d records at %v a second", n, r)
	}
	return sample{records: n, bytes: n * javaSize, elapsed: time.Duration(float64(n) / r * float64(time.Second))}, nil
}

// javaTool runs one of Apache Kafka's tools and returns what it prints.
func javaTool(tool string, args ...string) (string, error) {
	cmd := exec.Command(filepath.FromSlash(kafkaTool), append([]string{"tool", "org.apache.kafka.tools." + tool}, args...)...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s%s", tool, err, out, stderr.String())
	}
	return string(out), nil
}
