package quorum

import (
	"fmt"

	"go.etcd.io/raft/v3"
)

// words is what raft says while it works: its warnings become events, its panics PanicErrors, and the rest is nothing.
type words struct{ r *Raft }

var _ raft.Logger = words{}

func (w words) warn(text string) { w.r.event(Event{Kind: EventWarning, Node: -1, Detail: text}) }

func (w words) Debug(...any)                {}
func (w words) Debugf(string, ...any)       {}
func (w words) Info(...any)                 {}
func (w words) Infof(string, ...any)        {}
func (w words) Warning(v ...any)            { w.warn(fmt.Sprint(v...)) }
func (w words) Warningf(f string, v ...any) { w.warn(fmt.Sprintf(f, v...)) }
func (w words) Error(v ...any)              { w.warn(fmt.Sprint(v...)) }
func (w words) Errorf(f string, v ...any)   { w.warn(fmt.Sprintf(f, v...)) }
func (w words) Fatal(v ...any)              { panic(fmt.Sprint(v...)) }
func (w words) Fatalf(f string, v ...any)   { panic(fmt.Sprintf(f, v...)) }
func (w words) Panic(v ...any)              { panic(fmt.Sprint(v...)) }
func (w words) Panicf(f string, v ...any)   { panic(fmt.Sprintf(f, v...)) }
