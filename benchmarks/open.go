package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/partlog/partlog/partition"
)

// A child process fills a store and is killed, so that the next open is an unclean one.
const childVariable = "PARTLOG_BENCHMARK_CHILD"

func init() {
	job, dir, ok := strings.Cut(os.Getenv(childVariable), ":")
	if !ok {
		return
	}
	var err error
	switch job {
	case "tail":
		err = fillTail(dir)
	case "partitions":
		err = fillPartitions(dir, func(*partition.Store) error { return nil })
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("ready")
	select {}
}

// killedChild runs the job in a child and kills it with SIGKILL when it says that it is ready.
func killedChild(job, dir string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), childVariable+"="+job+":"+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	cmd.Process.Kill()
	cmd.Wait()
	if strings.TrimSpace(line) != "ready" {
		return fmt.Errorf("child: %q: %w", line, err)
	}
	return nil
}

const tailBytes = 1 << 30

func fillTail(dir string) error {
	s := shape{batch: 100, size: 1024, workers: 1}
	st, err := openPartlog(dir, s)
	if err != nil {
		return err
	}
	records := make([][]byte, s.batch)
	for i := range records {
		records[i] = newPayload(s.size)
	}
	for done := 0; done < tailBytes; done += s.batch * s.size {
		if err := st.append(0, records); err != nil {
			return err
		}
	}
	return nil // not closed: the process is killed
}

// openTailCell opens a SyncNever store with 1 GB that was killed, page cache warm; raw reads and checksums the same bytes.
// The kernel has written the pages back before, as it does within half a minute of a kill; dirty_s is the open right after
// the kill, which ends with a sync of whatever is not on the disk yet.
func openTailCell(name string) cell {
	tail := func(f func(dir string) error) func(environment) (sample, error) {
		return func(e environment) (sample, error) {
			written, dirty := filepath.Join(e.dir, "written"), filepath.Join(e.dir, "dirty")
			if err := errors.Join(os.Mkdir(written, 0o700), os.Mkdir(dirty, 0o700), killedChild("tail", written)); err != nil {
				return sample{}, err
			}
			syscall.Sync()
			s, err := timed(func() error { return f(written) })
			if err != nil {
				return sample{}, err
			}
			if err := killedChild("tail", dirty); err != nil {
				return sample{}, err
			}
			d, err := timed(func() error { return f(dirty) })
			if err != nil {
				return sample{}, err
			}
			s.extra["dirty_s"] = d.elapsed.Seconds()
			return s, nil
		}
	}
	return latency(cell{name: name, contenders: []contender{
		{"partlog", pageCache, tail(func(dir string) error {
			st, err := newPartlogAgain(dir)
			if err != nil {
				return err
			}
			if r := st.RecoveryReport(); r == nil {
				return errors.New("an unclean open without a recovery report")
			}
			return nil // left open: its close is not the measure
		})},
		{"raw", pageCache, tail(readLogs)},
	}})
}

func timed(f func() error) (sample, error) {
	before, started := mallocs(), time.Now()
	if err := f(); err != nil {
		return sample{}, err
	}
	s := sample{records: 1, elapsed: time.Since(started), mallocs: mallocs() - before, hist: new(histogram)}
	s.hist.add(s.elapsed)
	s.extra = map[string]float64{"seconds": s.elapsed.Seconds()}
	return s, nil
}

// readLogs reads every .log file below dir with 1 MiB preads and checksums it.
func readLogs(dir string) error {
	table := crc32.MakeTable(crc32.Castagnoli)
	buffer := make([]byte, 1<<20)
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".log" {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		for position := int64(0); ; {
			n, err := unix.Pread(int(f.Fd()), buffer, position)
			if err != nil || n == 0 {
				return err
			}
			sink += byte(crc32.Checksum(buffer[:n], table))
			position += int64(n)
		}
	})
}

const (
	manyTopics     = 100
	manyPartitions = 100 // of each topic
)

func fillPartitions(dir string, end func(*partition.Store) error) error {
	st, err := partition.Open(filepath.Join(dir, "store"), partlogConfig(false))
	if err != nil {
		return err
	}
	ctx := context.Background()
	lane := partlogLane{buffer: make([]byte, 0, 1024)}
	p := &partlogStore{store: st, lanes: []partlogLane{lane}}
	record := [][]byte{newPayload(100)}
	for t := range manyTopics {
		topic, err := st.CreateTopic(ctx, fmt.Sprintf("topic-%03d", t), partition.TopicConfig{Partitions: manyPartitions})
		if err != nil {
			return err
		}
		for i := range int32(manyPartitions) {
			if p.lanes[0].partition, err = topic.Partition(i); err != nil {
				return err
			}
			if err := p.append(0, record); err != nil {
				return err
			}
		}
	}
	return end(st)
}

// openPartitionsCell opens 10,000 partitions of one record each after a clean close; after_kill_s is the same after
// SIGKILL. Apache Kafka 4.1.2 on this class of machine: 19 s and 523 MB.
func openPartitionsCell(name string) cell {
	return latency(cell{name: name, contenders: []contender{{"partlog", pageCache, func(e environment) (sample, error) {
		clean, killed := filepath.Join(e.dir, "clean"), filepath.Join(e.dir, "killed")
		if err := errors.Join(os.Mkdir(clean, 0o700), os.Mkdir(killed, 0o700)); err != nil {
			return sample{}, err
		}
		if err := fillPartitions(clean, (*partition.Store).Close); err != nil {
			return sample{}, err
		}
		if err := killedChild("partitions", killed); err != nil {
			return sample{}, err
		}
		heap, goroutines := inUse(), runtime.NumGoroutine()
		var st *partition.Store
		s, err := timed(func() (err error) {
			st, err = newPartlogAgain(clean)
			return err
		})
		if err != nil {
			return sample{}, err
		}
		s.extra["heap_mb"] = inUse() - heap
		s.extra["goroutines"] = float64(runtime.NumGoroutine() - goroutines)
		if err := st.Close(); err != nil {
			return sample{}, err
		}
		k, err := timed(func() (err error) {
			st, err = newPartlogAgain(killed)
			return err
		})
		if err != nil {
			return sample{}, err
		}
		s.extra["after_kill_s"] = k.elapsed.Seconds()
		return s, st.Close()
	}}}})
}

func inUse() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapInuse) / 1e6
}
