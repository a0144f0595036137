package control

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"syscall"

	"github.com/partlog/partlog/kafka/kafkatest"
)

// diskIn is a rule of the disk as JSON.
type diskIn struct {
	Op         string `json:"op,omitempty"`         // create, open, write, read, sync, syncdir, rename, remove; empty: any
	Path       string `json:"path,omitempty"`       // a glob; without a separator for the file's name
	Nth        int    `json:"nth,omitempty"`        // the operation that fails, counted from 1
	Forever    bool   `json:"forever,omitempty"`    // and all later ones
	Error      string `json:"error,omitempty"`      // EIO (default), ENOSPC, EROFS, EACCES, EMFILE
	AfterBytes int64  `json:"afterBytes,omitempty"` // of writes: these bytes go well
	Short      int    `json:"short,omitempty"`      // bytes of the failing operation that are transferred
	Effect     bool   `json:"effect,omitempty"`     // it happens, and fails all the same
	Lose       bool   `json:"lose,omitempty"`       // a failed sync that never gets to the disk
}

// diskRule is one in force.
type diskRule struct {
	in    diskIn
	armed *kafkatest.ArmedDiskRule
}

type diskView struct {
	ID   int64  `json:"id"`
	Rule diskIn `json:"rule"`
	Hits int    `json:"hits"`
}

var diskOps = map[string]func(*kafkatest.DiskRule){
	"":        func(*kafkatest.DiskRule) {},
	"create":  func(r *kafkatest.DiskRule) { r.Op = kafkatest.OpCreate },
	"open":    func(r *kafkatest.DiskRule) { r.Op = kafkatest.OpOpen },
	"write":   func(r *kafkatest.DiskRule) { r.Op = kafkatest.OpWrite },
	"read":    func(r *kafkatest.DiskRule) { r.Op = kafkatest.OpRead },
	"sync":    func(r *kafkatest.DiskRule) { r.Op = kafkatest.OpSync },
	"syncdir": func(r *kafkatest.DiskRule) { r.Op = kafkatest.OpSyncDir },
	"rename":  func(r *kafkatest.DiskRule) { r.Op = kafkatest.OpRename },
	"remove":  func(r *kafkatest.DiskRule) { r.Op = kafkatest.OpRemove },
}

var diskErrors = map[string]error{"": syscall.EIO, "EIO": syscall.EIO, "ENOSPC": syscall.ENOSPC, "EROFS": syscall.EROFS, "EACCES": syscall.EACCES, "EMFILE": syscall.EMFILE}

func (in *diskIn) rule() (kafkatest.DiskRule, error) {
	r := kafkatest.DiskRule{Path: in.Path, Nth: in.Nth, Forever: in.Forever, AfterBytes: in.AfterBytes, Short: in.Short, Effect: in.Effect, Lose: in.Lose}
	op, ok := diskOps[strings.ToLower(in.Op)]
	if !ok {
		return r, bad("op %q: want one of %s", in.Op, strings.Join(slices.Sorted(maps.Keys(diskOps))[1:], ", "))
	}
	op(&r)
	if r.Err, ok = diskErrors[strings.ToUpper(in.Error)]; !ok {
		return r, bad("error %q: want one of %s", in.Error, strings.Join(slices.Sorted(maps.Keys(diskErrors))[1:], ", "))
	}
	return r, nil
}

func (h *Handler) diskRoutes() {
	c := h.cluster
	h.on("POST /v1/disk/rules", func(r *http.Request) (answer, error) {
		var in diskIn
		if err := read(r, &in); err != nil {
			return nil, err
		}
		rule, err := in.rule()
		if err != nil {
			return nil, err
		}
		return h.keepDiskRule(in, c.InjectDisk(rule)), nil
	})
	h.on("POST /v1/disk/fill", func(r *http.Request) (answer, error) {
		var in struct {
			After int64 `json:"after"`
		}
		if err := read(r, &in); err != nil {
			return nil, err
		}
		return h.keepDiskRule(diskIn{Op: "write", Error: "ENOSPC", Forever: true, AfterBytes: in.After}, c.FillDisk(in.After)), nil
	})
	h.on("POST /v1/disk/fail-sync", func(*http.Request) (answer, error) {
		return h.keepDiskRule(diskIn{Op: "sync", Path: "*.log", Forever: true}, c.FailSync()), nil
	})
	h.on("GET /v1/disk/rules", func(*http.Request) (answer, error) {
		h.mu.Lock()
		defer h.mu.Unlock()
		out := []diskView{}
		for _, id := range slices.Sorted(maps.Keys(h.diskRules)) {
			d := h.diskRules[id]
			out = append(out, diskView{id, d.in, d.armed.Hits()})
		}
		return out, nil
	})
	h.on("GET /v1/disk/rules/{id}", func(r *http.Request) (answer, error) { return h.diskRule(r, false) })
	h.on("DELETE /v1/disk/rules/{id}", func(r *http.Request) (answer, error) { return h.diskRule(r, true) })
	h.on("DELETE /v1/disk/rules", func(*http.Request) (answer, error) {
		h.mu.Lock()
		defer h.mu.Unlock()
		for id, d := range h.diskRules {
			d.armed.Lift()
			delete(h.diskRules, id)
		}
		return nil, nil
	})
}

func (h *Handler) keepDiskRule(in diskIn, a *kafkatest.ArmedDiskRule) diskView {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last++
	h.diskRules[h.last] = &diskRule{in, a}
	return diskView{h.last, in, a.Hits()}
}

// diskRule shows the one in the path, and lifts it if that is wanted.
func (h *Handler) diskRule(r *http.Request, lift bool) (answer, error) {
	id, err := number(r, "id")
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	d := h.diskRules[id]
	if d == nil {
		return nil, fmt.Errorf("disk rule %d: %w", id, errNotThere)
	}
	if lift {
		d.armed.Lift()
		delete(h.diskRules, id)
	}
	return diskView{id, d.in, d.armed.Hits()}, nil
}
