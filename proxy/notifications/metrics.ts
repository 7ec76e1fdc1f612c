import { Counter, Gauge, type Registry } from 'prom-client';

/** Labels name the receiver's host and port, never its path, which may hold a secret. */
export interface NotificationMetrics {
  readonly notifications: Counter<'receiver' | 'result'>;
  readonly notificationsWaiting: Gauge<'receiver'>;
}

export function createNotificationMetrics(registry: Registry): NotificationMetrics {
  const registers = [registry];
  return {
    notifications: new Counter({
      name: 'sallyport_notifications_total',
      help: 'Notifications: delivered, attempts that failed, thrown away',
      labelNames: ['receiver', 'result'],
      registers,
    }),
    notificationsWaiting: new Gauge({
      name: 'sallyport_notifications_waiting',
      help: 'Notifications that wait for their receiver',
      labelNames: ['receiver'],
      registers,
    }),
  };
}
