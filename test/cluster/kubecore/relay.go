package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// relay listens where it was started and dials in another network namespace, so that programs outside of a node reach its API server:
//
//	relay 127.0.0.1:6443 /run/netns/NAME 127.0.0.1:6443
func relay(arguments []string) error {
	if len(arguments) != 3 {
		return fmt.Errorf("wants LISTEN NAMESPACE-FILE TARGET")
	}
	listener, err := net.Listen("tcp", arguments[0])
	if err != nil {
		return err
	}
	namespace, err := os.Open(arguments[1])
	if err != nil {
		return err
	}
	dial, err := dialerIn(namespace)
	if err != nil {
		return err
	}
	for {
		client, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer client.Close()
			target, err := dial(arguments[2])
			if err != nil {
				fmt.Fprintln(os.Stderr, "relay:", err)
				return
			}
			defer target.Close()
			both(client.(*net.TCPConn), target.(*net.TCPConn))
		}()
	}
}

// dialerIn dials on one thread that has moved into the namespace for good: a socket belongs to the namespace of the thread that made it,
// whoever uses it later.
func dialerIn(namespace *os.File) (func(address string) (net.Conn, error), error) {
	type answer struct {
		connection net.Conn
		err        error
	}
	type question struct {
		address string
		answer  chan answer
	}
	questions := make(chan question)
	moved := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET)
		moved <- err
		if err != nil {
			return
		}
		for asked := range questions {
			connection, err := net.Dial("tcp", asked.address)
			asked.answer <- answer{connection, err}
		}
	}()
	dial := func(address string) (net.Conn, error) {
		asked := question{address, make(chan answer, 1)}
		questions <- asked
		answered := <-asked.answer
		return answered.connection, answered.err
	}
	return dial, <-moved
}

// both copies until both directions have ended; the end of one is handed on as such.
func both(a, b *net.TCPConn) {
	var done sync.WaitGroup
	copyTo := func(to, from *net.TCPConn) {
		defer done.Done()
		if _, err := io.Copy(to, from); err != nil {
			// A broken direction ends the other too: half a connection helps nobody.
			from.Close()
		}
		to.CloseWrite()
	}
	done.Add(2)
	go copyTo(a, b)
	go copyTo(b, a)
	done.Wait()
}
