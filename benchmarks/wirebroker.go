package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sys/unix"

	"github.com/partlog/partlog/kafka"
	"github.com/partlog/partlog/partition"
)

// A broker of a wire cell is a process of its own, so that its CPU time and memory are its own: this program, started
// again with brokerVariable set, or a real Apache Kafka. It serves until its standard input ends.
const brokerVariable = "PARTLOG_BENCHMARK_BROKER"

const wireTopic = "records"

// broker is one that runs.
type broker struct {
	address string
	pid     int
	stop    func() error
}

// startBroker starts a system that serves wireTopic with some partitions, in the page cache only.
func startBroker(system, dir string, partitions int) (*broker, error) {
	if system == "kafka" {
		return startKafka(dir, partitions)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), brokerVariable+"="+system, "PARTLOG_BENCHMARK_DIR="+dir, "PARTLOG_BENCHMARK_PARTITIONS="+strconv.Itoa(partitions))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("broker %s: %w", system, err), cmd.Wait())
	}
	stop := func() error { return errors.Join(in.Close(), cmd.Wait()) }
	return &broker{address: strings.TrimSpace(address), pid: cmd.Process.Pid, stop: stop}, nil
}

// serveAsBroker is the whole program of a broker's process.
func serveAsBroker(system string) error {
	dir := os.Getenv("PARTLOG_BENCHMARK_DIR")
	partitions, err := strconv.Atoi(os.Getenv("PARTLOG_BENCHMARK_PARTITIONS"))
	if err != nil {
		return err
	}
	var address string
	var end func() error
	switch system {
	case "partlog":
		address, end, err = servePartlog(dir, partitions)
	case "kfake":
		var c *kfake.Cluster
		if c, err = kfake.NewCluster(kfake.NumBrokers(1), kfake.DataDir(filepath.Join(dir, "kfake")), kfake.SeedTopics(int32(partitions), wireTopic)); err == nil {
			address, end = c.ListenAddrs()[0], func() error { c.Close(); return nil }
		}
	case "raw":
		address, end, err = serveNull(partitions)
	default:
		err = fmt.Errorf("no broker %q", system)
	}
	if err != nil {
		return err
	}
	fmt.Println(address)
	_, err = io.Copy(io.Discard, os.Stdin)
	return errors.Join(err, end())
}

func servePartlog(dir string, partitions int) (string, func() error, error) {
	st, err := partition.Open(filepath.Join(dir, "store"), partlogConfig(false))
	if err != nil {
		return "", nil, err
	}
	if _, err := st.CreateTopic(context.Background(), wireTopic, partition.TopicConfig{Partitions: int32(partitions)}); err != nil {
		return "", nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	s, err := kafka.Serve(l, st, kafka.Config{Properties: map[string]string{"group.initial.rebalance.delay.ms": "0"}})
	if err != nil {
		return "", nil, err
	}
	return l.Addr().String(), func() error { return errors.Join(s.Close(), st.Close()) }, nil
}

func startKafka(dir string, partitions int) (*broker, error) {
	tool := filepath.FromSlash(kafkaTool)
	port, err := exec.Command(tool, "port").Output()
	if err != nil {
		return nil, err
	}
	number := strings.TrimSpace(string(port))
	data := filepath.Join(dir, "kafka")
	for _, args := range [][]string{{"get"}, {"format", data, number, "cGFydGxvZy1iZW5jaG1hcg"}, {"start", data}} {
		if out, err := exec.Command(tool, args...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("Apache Kafka, %s: %w\n%s", args[0], err, out)
		}
	}
	text, err := os.ReadFile(data + ".pid")
	if err != nil {
		return nil, err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return nil, err
	}
	b := &broker{address: "127.0.0.1:" + number, pid: pid, stop: func() error { return exec.Command(tool, "stop", data).Run() }}
	return b, b.createTopic(partitions)
}

func (b *broker) createTopic(partitions int) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(b.address))
	if err != nil {
		return err
	}
	defer client.Close()
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = wireTopic, int32(partitions), 1
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Topics = append(req.Topics, t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	resp, err := req.RequestWith(ctx, client)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(resp.Topics[0].ErrorCode)
}

// cpu is the processor time that the broker's process has used, of all its threads.
func (b *broker) cpu() time.Duration {
	var t unix.Timespec
	const scheduled = 2 // CPUCLOCK_SCHED of include/linux/posix-timers.h
	if err := unix.ClockGettime(int32(^b.pid<<3|scheduled), &t); err != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

// resident is the broker's memory in bytes.
func (b *broker) resident() (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", b.pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text))
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize()), err
}

// with runs f against a broker of its own.
func withBroker(system, dir string, partitions int, f func(*broker) (sample, error)) (sample, error) {
	b, err := startBroker(system, dir, partitions)
	if err != nil {
		return sample{}, err
	}
	s, err := f(b)
	return s, errors.Join(err, b.stop())
}
