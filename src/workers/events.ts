/** What a worker tells the control thread by message: rare things, one object each. */
export type WorkerEvent =
  | { readonly type: 'running' }
  | { readonly type: 'stopped' }
  | { readonly type: 'linkGone'; readonly name: string }
  | {
      readonly type: 'conflict';
      readonly port: number;
      readonly ip: number;
      readonly macHi: number;
      readonly macLo: number;
    }
  | {
      readonly type: 'connectFailed';
      readonly service: number;
      readonly dest: number;
      /** END_* of tcp/state.ts. */
      readonly end: number;
      readonly retry: boolean;
    }
  | { readonly type: 'noServer'; readonly service: number };
